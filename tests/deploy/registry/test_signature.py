"""Whoever may write store and registry forges every record; without the private key nobody signs the models."""

import shutil
import subprocess

import pytest

from medprior.cli import main
from medprior.deploy import load_model, register_model
from medprior.deploy.inference.model_folder import compute_models_digest, find_model_folders
from medprior.deploy.registry.champion import APPROVAL_TAG, APPROVED_DIGEST_TAG
from medprior.deploy.registry.signature import (
    MAKE_KEYS,
    SIGNATURE_FILE,
    load_signing_key,
    load_verification_key,
    sign_models,
    verify_models,
)
from medprior.errors import InputMissing
from medprior.tracking import mlflow_store
from tests.deploy.registry.stored import find_stored_version
from tests.deploy.registry.test_binding import swap_weights_and_digest


def make_keys(folder):
    """A private and a public key, made by the command that the errors name."""
    folder.mkdir(exist_ok=True)
    subprocess.run(MAKE_KEYS, shell=True, cwd=folder, check=True, capture_output=True)
    return folder / "key.pem", folder / "public.pem"


@pytest.fixture
def keys(tmp_path):
    return make_keys(tmp_path / "keys")


@pytest.fixture
def signed(classifier, keys, tmp_path):
    """A signed copy of a model folder."""
    folder = tmp_path / "signed"
    shutil.copytree(classifier, folder)
    sign_models({"model": folder}, load_signing_key(keys[0]))
    return folder


def test_weights_digest_and_records_forged_together_are_refused(tracking_uri, classifier, segmenter, keys):
    register_model(classifier, "cxr", segmenter=segmenter, tracking_uri=tracking_uri, sign_key=keys[0])
    uris = ["models:/cxr/1", "models:/cxr@champion"]
    for uri in uris:
        assert set(load_model(uri, tracking_uri, verify_key=keys[1]).models) == {"classification", "segmentation"}
    artifacts = find_stored_version(tracking_uri) / "artifacts"
    swap_weights_and_digest(artifacts / "segmenter")
    forged = compute_models_digest(find_model_folders(artifacts))
    client = mlflow_store.connect_to_store(tracking_uri)
    tags = {"model_digest": forged, APPROVAL_TAG: "gate", APPROVED_DIGEST_TAG: forged}
    for name, value in tags.items():
        client.set_model_version_tag("cxr", "1", name, value)
    for uri in uris:
        assert load_model(uri, tracking_uri).digest == forged  # the records alone tell nothing
        with pytest.raises(InputMissing, match="segmenter was not signed with this key, or was changed"):
            load_model(uri, tracking_uri, verify_key=keys[1])


def test_an_unsigned_version_is_refused(tracking_uri, classifier, keys):
    register_model(classifier, "cxr", tracking_uri=tracking_uri)
    with pytest.raises(InputMissing, match="model is not signed"):
        load_model("models:/cxr/1", tracking_uri, verify_key=keys[1])


def test_a_signature_holds_for_one_key_and_one_model(signed, segmenter, keys, tmp_path):
    assert load_model(signed, verify_key=keys[1]).models
    other = make_keys(tmp_path / "other")
    with pytest.raises(InputMissing, match="not signed with this key"):
        load_model(signed, verify_key=other[1])
    moved = tmp_path / "moved"
    shutil.copytree(segmenter, moved)
    shutil.copyfile(signed / SIGNATURE_FILE, moved / SIGNATURE_FILE)
    with pytest.raises(InputMissing, match="not signed with this key"):
        load_model(moved, verify_key=keys[1])
    with pytest.raises(InputMissing, match="segmenter is not signed"):
        load_model(signed, segmenter=segmenter, verify_key=keys[1])
    with pytest.raises(InputMissing, match="anatomy model is not signed"):
        load_model(verify_key=keys[1])


def test_a_changed_folder_is_refused_until_the_owner_signs_it_again(signed, keys):
    swap_weights_and_digest(signed)
    with pytest.raises(InputMissing, match="not signed with this key"):
        load_model(signed, verify_key=keys[1])
    sign_models({"model": signed}, load_signing_key(keys[0]))
    assert load_model(signed, verify_key=keys[1]).models


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"signature": 7}', '{"signature": "?"}', '{"signature": ""}', "[" * 4000, "x" * 10_000, "\udce4"],
)
def test_a_broken_signature_verifies_nothing(content, signed, keys):
    (signed / SIGNATURE_FILE).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputMissing, match="not signed with this key"):
        verify_models({"model": signed}, load_verification_key(keys[1]))


def test_wrong_keys_are_one_line_that_says_how_to_make_one(classifier, keys, tmp_path, capsys):
    subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-out", tmp_path / "rsa.pem"], check=True)
    locked = ["openssl", "pkey", "-in", keys[0], "-aes256", "-passout", "pass:x", "-out", tmp_path / "locked.pem"]
    subprocess.run(locked, check=True)
    (tmp_path / "noise.pem").write_bytes(b"\x00" * 100)
    picture = tmp_path / "none.png"
    picture.write_bytes(b"x")
    predict = ["predict", str(picture), "-o", str(tmp_path / "out"), "--model", str(classifier), "--verify-key"]
    register = ["register", str(classifier), "cxr", "--tracking-uri", "sqlite:///never.db", "--sign-key"]
    names = ("rsa.pem", "locked.pem", "noise.pem", "absent.pem")
    wrong = [(register, tmp_path / name) for name in names] + [(register, keys[1])]
    wrong += [(predict, tmp_path / name) for name in names] + [(predict, keys[0])]
    for command, key in wrong:
        assert main([*command, str(key)]) == 2
        error = capsys.readouterr().err.strip()
        assert "openssl genpkey" in error
        assert "\n" not in error
    assert main([*predict, str(keys[1])]) == 2
    assert "not signed" in capsys.readouterr().err
