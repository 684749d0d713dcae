"""Folders through the real road: odd entries, and who is who."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medprior.dicom.decoding.samples import serialise_dataset
from medprior.ingest import IngestSettings, ingest_images
from tests.corpus.case import dataset, dicom, stored
from tests.corpus.folders import named, names, others

SETTINGS = IngestSettings(workers=1, store_size=64)


@dataclass
class Taken:
    """A folder that was ingested.

    Attributes:
        folder: the input.
        cohort: the cohort.
        outcome: source path -> (image id, code).
        manifest: image id -> row.
        expected: name -> path and codes, for odd entries.
    """

    folder: Path
    cohort: Path
    outcome: dict[str, tuple[str, str]]
    manifest: pd.DataFrame
    expected: dict[str, tuple[Path, frozenset[str]]]

    def of(self, name: str) -> Any:
        """The manifest row of a file; None where it was refused."""
        image, _ = self.outcome[str(self.folder / name)]
        return self.manifest.loc[image] if image else None

    def person(self, name: str) -> str:
        return str(self.of(name).patient_id)


def taken(folder: Path, cohort: Path, key: Path, **expected: Any) -> Taken:
    done = ingest_images(folder, cohort, settings=SETTINGS, key=key)
    sources = cohort.with_name(cohort.name + ".private") / "sources.csv"
    with sources.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        outcome = {row["source"]: (row["image_id"], row["code"]) for row in csv.DictReader(file)}
    return Taken(folder, cohort, outcome, done.manifest.set_index("image_id"), expected)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """A folder of odd entries, ingested within a minute and without a trace elsewhere."""
    root = tmp_path_factory.mktemp("odd")
    folder, outside = root / "input", root / "outside"
    folder.mkdir()
    outside.mkdir()
    expected = others(folder, outside)
    expected |= {
        name: (named(folder, text, seed), frozenset({""})) for seed, (name, text) in enumerate(names().items(), 1)
    }
    found: list[Taken] = []
    before = {path for path in root.rglob("*") if "cohort" not in path.parts}
    work = threading.Thread(
        target=lambda: found.append(taken(folder, root / "cohort", root / "key", **expected)),
        daemon=True,
    )
    work.start()
    work.join(60)
    assert found, "ingest crashed or hangs"
    after = {p for p in root.rglob("*") if "cohort" not in str(p.relative_to(root))}
    assert after - before == {root / "key"}
    assert not (Path.cwd() / "PWNED").exists()
    return found[0]


ODD = (
    *names(), "good", "link_inside", "link_outside", "link_broken", "link_loop", "link_zero",
    "link_parent", "link_folder", "link_proc", "pipe", "device", "socket", "hard_link",
    "copy", "empty",
    "sparse", "sparse_small", "unreadable", "._good", ".DS_Store", "Thumbs.db", "DICOMDIR",
    "report.html",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_entry(odd: Taken, name: str) -> None:
    if name not in odd.expected:
        pytest.skip("cannot be made without more rights")
    path, codes = odd.expected[name]
    _, code = odd.outcome[str(path)]
    assert code in codes


def test_every_entry_has_one_outcome_and_no_name_is_told(odd: Taken) -> None:
    assert set(odd.outcome) == {str(path) for path, _ in odd.expected.values()}
    copies = {odd.outcome[str(odd.folder / name)][0] for name in ("good", "hard_link", "copy")}
    assert len(copies) == 1
    told = b"".join(path.read_bytes() for path in odd.cohort.rglob("*") if path.is_file())
    for path in odd.outcome:
        name = os.fsencode(Path(path).name)
        assert len(name) < 6 or name not in told


WIDE = "\uff21\uff22-1"


def people() -> dict[str, bytes]:
    """File name -> content, about who is who."""
    seeds = iter(range(100))

    def one(seed: int | None = None, **elements: Any) -> bytes:
        number = next(seeds) if seed is None else seed
        uids = {"SOPInstanceUID": f"1.9876.9.{number}", "StudyInstanceUID": f"1.9876.8.{number}"}
        return dicom(stored(seed=number), **(uids | {"PatientID": "AB-1"} | elements))

    made = {
        "plain": one(), "again": one(), "blanks": one(PatientID="  AB-1 "),
        "wide": one(PatientID=WIDE, SpecificCharacterSet="ISO_IR 192"),
        "other": one(PatientID="AB-2"), "issuer": one(IssuerOfPatientID="HOSPITAL"),
        "nobody": one(PatientID="", StudyInstanceUID="1.9876.7.1"),
        "nobody_same_study": one(PatientID="", StudyInstanceUID="1.9876.7.1"),
        "nobody_other_study": one(PatientID="", StudyInstanceUID="1.9876.7.2"),
        "nobody_blank": one(PatientID="   ", StudyInstanceUID="1.9876.7.3"),
        "nobody_nowhere": one(PatientID="", StudyInstanceUID=""),
        "nobody_nowhere_2": one(PatientID="", StudyInstanceUID=""),
        "old": one(PatientAge="095Y"), "future": one(StudyDate="29990101", PatientBirthDate="xx"),
        "uid_path": one(SOPInstanceUID="1.2.3.4"), "uid_long": one(SOPInstanceUID="1." + "2" * 62),
        "formula": one(PatientID="=1+1|cmd"), "a_instance": one(60, SOPInstanceUID="1.9876.6.1"),
        "b_instance_other_picture": one(61, SOPInstanceUID="1.9876.6.1"),
        "twin_1": one(62, PatientID="T1", SOPInstanceUID="1.9876.5.1"),
        "twin_2": one(62, PatientID="T2", SOPInstanceUID="1.9876.5.2"),
        "cyrillic": one(PatientID="Жук", SpecificCharacterSet="ISO_IR 144"),
        "cyrillic_utf8": one(PatientID="Жук", SpecificCharacterSet="ISO_IR 192"),
    }  # fmt: skip
    made["uid_path"] = made["uid_path"].replace(b"1.2.3.4\0", b"../../a\0")
    made["copy"] = made["plain"]
    for name, tags in {
        "no_uid": ["SOPInstanceUID"], "no_uid_2": ["SOPInstanceUID"],
        "no_patient": ["PatientID", "StudyInstanceUID"],
    }.items():  # fmt: skip
        data = dataset(stored(seed=next(seeds)), SOPInstanceUID=f"1.4.{len(made)}")
        whole = serialise_dataset(data)
        for tag in tags:
            at = whole.index(sample_tag(tag), 300)
            length = int.from_bytes(whole[at + 6 : at + 8], "little")
            whole = whole[:at] + whole[at + 8 + length :]
        made[name] = whole
    return made


def sample_tag(keyword: str) -> bytes:
    tags = {"SOPInstanceUID": b"\x08\x00\x18\x00UI", "PatientID": b"\x10\x00\x20\x00LO",
            "StudyInstanceUID": b"\x20\x00\x0d\x00UI"}  # fmt: skip
    return tags[keyword]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Taken:
    root = tmp_path_factory.mktemp("people")
    (root / "input").mkdir()
    for name, data in people().items():
        (root / "input" / name).write_bytes(data)
    return taken(root / "input", root / "cohort", root / "key")


@pytest.mark.parametrize("name", ["again", "blanks", "wide", "old", "future", "copy"])
def test_the_same_patient(known: Taken, name: str) -> None:
    assert known.person(name) == known.person("plain")


@pytest.mark.parametrize("name", ["other", "issuer", "formula", "cyrillic", "nobody"])
def test_another_patient(known: Taken, name: str) -> None:
    assert known.person(name) != known.person("plain")


def test_nobody_is_a_new_patient_for_every_study(known: Taken) -> None:
    assert known.person("nobody") == known.person("nobody_same_study")
    names = ["nobody", "nobody_other_study", "nobody_blank", "nobody_nowhere", "nobody_nowhere_2",
             "no_patient", "plain"]  # fmt: skip
    assert len({known.person(name) for name in names}) == len(names)


def test_a_name_is_the_same_in_every_character_set(known: Taken) -> None:
    assert known.person("cyrillic") == known.person("cyrillic_utf8")


def test_copies_conflicts_and_twins(known: Taken) -> None:
    image = {name: known.outcome[str(known.folder / name)] for name in people()}
    assert image["copy"] == image["plain"]
    assert image["b_instance_other_picture"] == ("", "conflict")
    assert image["a_instance"][1] == ""
    twins = known.of("twin_1"), known.of("twin_2")
    assert twins[0].pixel_sha256 == twins[1].pixel_sha256
    assert twins[0].patient_id != twins[1].patient_id
    assert twins[0].split == twins[1].split
    assert image["no_uid"][0] != image["no_uid_2"][0]
    codes = {name: code for name, (_, code) in image.items() if code}
    assert codes == {"b_instance_other_picture": "conflict"}


@pytest.mark.parametrize("name", ["uid_path", "uid_long"])
def test_a_bad_uid_is_no_path(known: Taken, name: str) -> None:
    image, _ = known.outcome[str(known.folder / name)]
    assert len(image) == 20
    assert set(image) <= set("0123456789abcdef")


def test_ages_above_89_are_one_group(known: Taken) -> None:
    assert known.of("old").age == 90.0


def test_keys_decide(known: Taken, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("plain", "other", "nobody", "no_uid"):
        (tmp_path / "in" / name).write_bytes(people()[name])
    other = taken(tmp_path / "in", tmp_path / "a", tmp_path / "key")
    same = taken(tmp_path / "in", tmp_path / "b", known.cohort.with_name("key"))
    for column in ("patient_id", "study_id"):
        assert not set(other.manifest[column]) & set(known.manifest[column])
        assert set(same.manifest[column]) <= set(known.manifest[column])
    assert not set(other.manifest.index) & set(known.manifest.index)
    assert set(same.manifest.index) <= set(known.manifest.index)


def test_no_raw_identifier_and_no_unkeyed_digest(known: Taken) -> None:
    raw = {
        "AB-1", "AB-2", "HOSPITAL\0AB-1", "\0AB-1", "Жук", "=1+1|cmd", "1.9876.6.1", "1.9876.9.0",
        "1.9876.8.0", "1.9876.7.1",
    }  # fmt: skip
    told = b"".join(path.read_bytes() for path in known.cohort.rglob("*") if path.is_file())
    told += known.manifest.to_csv().encode()
    for text in raw:
        for form in {text, text.upper(), text.lower()}:
            for kind in ("md5", "sha1", "sha256"):
                digest = hashlib.new(kind, form.encode())
                assert digest.hexdigest().encode() not in told
                assert digest.hexdigest()[:20].encode() not in told
                assert base64.b64encode(digest.digest()) not in told
        assert len(text) < 8 or text.encode() not in told
    assert b"cmd" not in told
