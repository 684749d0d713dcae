"""Whoever may write the artifact store swaps weights and digest together: the registry's record tells."""

import getpass
import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from medprior.deploy import load_model, register_model
from medprior.deploy.inference.model_folder import read_checked_config
from medprior.errors import InputMissing
from medprior.finetune.model import MODEL_WEIGHTS_FILE
from medprior.provenance import sha256_file
from medprior.tracking import mlflow_store
from tests.deploy.registry.stored import find_stored_version


def swap_weights_and_digest(folder):
    """Other weights, and their digest in `config.json`: the folder alone is consistent."""
    weights = load_file(folder / MODEL_WEIGHTS_FILE)
    name = sorted(weights)[0]
    weights[name] = weights[name] + 1
    save_file(weights, folder / MODEL_WEIGHTS_FILE)
    config = json.loads((folder / "config.json").read_text())
    config["outputs"][MODEL_WEIGHTS_FILE] = sha256_file(folder / MODEL_WEIGHTS_FILE)
    (folder / "config.json").write_text(json.dumps(config))
    read_checked_config(folder)


@pytest.fixture
def store(tracking_uri, classifier):
    """A store with one version of `cxr`, its challenger."""
    register_model(classifier, "cxr", alias="challenger", tracking_uri=tracking_uri)
    return tracking_uri


def test_no_user_and_no_path_is_recorded(store):
    client = mlflow_store.connect_to_store(store)
    version = client.get_model_version("cxr", "1")
    tags = client.get_run(version.run_id).data.tags | client.get_logged_model(version.source.split("/")[-1]).tags
    assert (tags["mlflow.user"], tags["mlflow.source.name"]) == ("medprior", "medprior register")
    assert getpass.getuser() not in set(tags.values()) | {client.get_run(version.run_id).info.user_id}


def test_swapped_files_are_refused_however_they_are_named(store):
    client = mlflow_store.connect_to_store(store)
    version = client.get_model_version("cxr", "1")
    logged = version.source.split("/")[-1]
    uris = ["models:/cxr/1", "models:/cxr@challenger", f"models:/{logged}", f"runs:/{version.run_id}/model"]
    digests = {load_model(uri, store).digest for uri in uris}
    assert digests == {version.tags["model_digest"]}
    swap_weights_and_digest(find_stored_version(store) / "artifacts" / "model")
    for uri in uris:
        with pytest.raises(InputMissing, match="not those that were registered"):
            load_model(uri, store)


def test_an_alias_moved_past_the_gate_makes_no_champion(store):
    client = mlflow_store.connect_to_store(store)
    client.set_registered_model_alias("cxr", "champion", "1")
    with pytest.raises(InputMissing, match="approved by no gate"):
        load_model("models:/cxr@champion", store)
    assert load_model("models:/cxr/1", store).models


def test_an_approval_holds_for_the_files_that_were_approved(tracking_uri, classifier):
    register_model(classifier, "cxr", alias="champion", tracking_uri=tracking_uri)
    assert load_model("models:/cxr@champion", tracking_uri).models
    client = mlflow_store.connect_to_store(tracking_uri)
    stored = find_stored_version(tracking_uri) / "artifacts" / "model"
    kept = shutil.copytree(stored, stored.parents[2] / "kept")
    swap_weights_and_digest(stored)
    from medprior.deploy.inference.model_folder import compute_models_digest

    client.set_model_version_tag("cxr", "1", "model_digest", compute_models_digest({"model": stored}))
    with pytest.raises(InputMissing, match="approved by no gate"):
        load_model("models:/cxr@champion", tracking_uri)
    shutil.rmtree(stored)
    shutil.copytree(kept, stored)
