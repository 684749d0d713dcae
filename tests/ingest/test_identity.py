import hashlib
import hmac
import re
import stat
from pathlib import Path

import pytest

from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.ingest import ingest_images
from medprior.ingest.identity import (
    Pseudonymizer,
    create_key_file,
    create_public_pseudonymizer,
    default_key_path,
    is_valid_uid,
    load_existing_pseudonymizer,
    load_private_pseudonymizer,
)
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom


def test_ids_depend_on_the_key_and_on_nothing_else(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 4)
    keys = tmp_path / "keys"
    cohorts = [
        ingest_images(folder, tmp_path / name, settings=ONE_WORKER, key=keys / key)
        for name, key in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    ids = [set(cohort.image_ids) | set(cohort.patient_ids) for cohort in cohorts]
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]
    assert stat.S_IMODE((keys / "1").stat().st_mode) == 0o600
    with pytest.raises(MedpriorError, match="another identity key"):
        ingest_images(folder, tmp_path / "a", settings=ONE_WORKER, key=keys / "2")


def test_keys_beside_the_data_open_or_short_are_refused(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 1)
    for path in (tmp_path / "c" / "key", tmp_path / "c.private" / "key"):
        with pytest.raises(MedpriorError, match="beside the data"):
            ingest_images(folder, tmp_path / "c", settings=ONE_WORKER, key=path)
    (tmp_path / "short").write_text("abc")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(MedpriorError, match="too short"):
        ingest_images(folder, tmp_path / "c", settings=ONE_WORKER, key=tmp_path / "short")
    (tmp_path / "short").chmod(0o644)
    with pytest.raises(MedpriorError, match="open to other users"):
        ingest_images(folder, tmp_path / "c", settings=ONE_WORKER, key=tmp_path / "short")


def test_a_pseudonym_is_the_keyed_hash_of_kind_and_name():
    pseudonyms = Pseudonymizer(b"key")
    assert pseudonyms.pseudonym("patient", "7") == "454453350a4bbe3346bf"
    assert pseudonyms.pseudonym("study", "7") != pseudonyms.pseudonym("patient", "7")
    assert Pseudonymizer(b"other").pseudonym("patient", "7") != pseudonyms.pseudonym("patient", "7")
    # A file name that is no UTF-8 has one too.
    assert len(pseudonyms.pseudonym("item", "\udcff")) == 20


def test_a_keyed_digest_depends_on_key_and_digest():
    pseudonyms = Pseudonymizer(b"key")
    expected = hmac.new(b"key", b"pixels\0" + b"d" * 64, hashlib.sha256).hexdigest()
    assert pseudonyms.key_digest("d" * 64) == expected
    assert len({expected, pseudonyms.key_digest("e" * 64), Pseudonymizer(b"other").key_digest("d" * 64)}) == 3


def test_an_existing_key_is_used_and_none_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "key"))
    assert load_existing_pseudonymizer() is None
    assert not (tmp_path / "key").exists()
    made = load_private_pseudonymizer(None, tmp_path / "cohort")
    assert load_existing_pseudonymizer().key_id == made.key_id


def test_the_short_name_of_a_key_does_not_reveal_it():
    pseudonyms = Pseudonymizer(b"secret")
    assert repr(pseudonyms) == f"Pseudonymizer(key_id={pseudonyms.key_id!r})"
    assert len(pseudonyms.key_id) == 8
    assert create_public_pseudonymizer("nih").key_id == create_public_pseudonymizer("nih").key_id
    assert create_public_pseudonymizer("nih").key_id != create_public_pseudonymizer("rsna").key_id


def test_a_new_key_is_private_and_never_replaces_one(tmp_path):
    path = tmp_path / "keys" / "k"
    create_key_file(path)
    text = path.read_text()
    assert re.fullmatch("[0-9a-f]{64}\n", text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    create_key_file(path)
    assert path.read_text() == text
    assert [entry.name for entry in path.parent.iterdir()] == ["k"]


def test_the_key_is_looked_for_in_the_variable_then_in_the_configuration(monkeypatch):
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", "/x/key")
    assert default_key_path() == Path("/x/key")
    monkeypatch.delenv("MEDPRIOR_IDENTITY_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    assert default_key_path() == Path("/conf/medprior/identity.key")
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_key_path() == Path("/home/somebody/.config/medprior/identity.key")


@pytest.mark.parametrize(("length", "is_valid"), [(31, False), (32, True)])
def test_a_key_has_32_bytes_without_the_line_end(tmp_path, length, is_valid):
    path = tmp_path / "k"
    path.write_bytes(b"a" * length + b"\n")
    path.chmod(0o600)
    if is_valid:
        assert load_private_pseudonymizer(path, tmp_path / "c").key_id == Pseudonymizer(b"a" * 32).key_id
        return
    with pytest.raises(ConfigError, match="too short"):
        load_private_pseudonymizer(path, tmp_path / "c")


def test_a_key_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputMissing, match="cannot be read or created"):
        load_private_pseudonymizer(tmp_path / "file" / "k", tmp_path / "c")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.840", True), ("1", False), ("1..2", False), ("1.2.", False), ("1.2\n", False), ("1.a", False),
        ("", False), ("1." + "2" * 62, True), ("1." + "2" * 63, False),
    ],
)  # fmt: skip
def test_uids_are_numbers_with_points_of_at_most_64_characters(text, expected):
    assert is_valid_uid(text) is expected


@pytest.mark.parametrize("place", ["in/k", "in/sub/k", "link/k", "c/k", "c.private/k"])
def test_a_key_inside_the_input_or_the_cohort_is_refused(tmp_path, place):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(ConfigError, match="must not lie beside the data"):
        load_private_pseudonymizer(tmp_path / place, tmp_path / "c", tmp_path / "in")
    assert not (tmp_path / place).exists()
    assert load_private_pseudonymizer(tmp_path / "k", tmp_path / "c", tmp_path / "in").key_id
