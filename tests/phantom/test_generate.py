"""A cohort on disk: layout, tables, determinism, and refusals."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pydicom
import pytest
from PIL import Image

from medprior.errors import MedpriorError
from medprior.phantom import FINDINGS, STRUCTURES, PhantomSettings, generate_phantom_cohort, render_phantom
from medprior.phantom.generate import plan_images
from medprior.provenance import read_config

SMALL = PhantomSettings(size=80)


def fingerprint(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "config.json"
    }


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "out"
    generate_phantom_cohort(out, 12, 3, SMALL, workers=1)
    return out


def test_same_seed_gives_same_bytes_whatever_the_workers(cohort, tmp_path):
    generate_phantom_cohort(tmp_path / "two", 12, 3, SMALL, workers=2)
    assert fingerprint(tmp_path / "two") == fingerprint(cohort)


def test_other_seed_gives_other_pictures(cohort, tmp_path):
    generate_phantom_cohort(tmp_path / "other", 2, 4, SMALL, workers=1)
    ours, theirs = ({r["sha256"] for r in table(p / "truth.csv")} for p in (cohort, tmp_path / "other"))
    assert not ours & theirs


def test_more_patients_keep_the_first_ones(cohort, tmp_path):
    generate_phantom_cohort(tmp_path / "few", 3, 3, SMALL, workers=1)
    few, many = table(tmp_path / "few" / "truth.csv"), table(cohort / "truth.csv")
    assert few == many[: len(few)]


def test_every_image_has_file_masks_and_rows(cohort):
    labels, truth = table(cohort / "labels.csv"), table(cohort / "truth.csv")
    assert [row["image"] for row in labels] == [row["image"] for row in truth]
    assert list(labels[0]) == ["image", "patient_id", *FINDINGS]
    for row, true in zip(labels, truth, strict=True):
        path = cohort / row["image"]
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert dataset.PatientID == row["patient_id"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == true["sha256"]
        present = {name for name in FINDINGS if true[name] == "1"}
        masks = {mask.stem: mask for mask in (cohort / "masks" / path.stem).iterdir()}
        assert set(masks) == set(STRUCTURES) | present
        for mask in masks.values():
            values = np.asarray(Image.open(mask))
            assert values.shape == (dataset.Rows, dataset.Columns)
            assert values.any()
        for name in FINDINGS:
            assert row[name] in {"", true[name]}
        limit = SMALL.cardiothoracic_limit
        assert (float(true["ctr"]) > limit) == (true["cardiomegaly"] == "1")


def test_patients_have_several_images_of_one_vendor_age_and_birth_date(cohort):
    by_patient = {}
    for path in sorted(cohort.glob("dicom/*/*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        by_patient.setdefault(dataset.PatientID, []).append(dataset)
    assert max(len(images) for images in by_patient.values()) > 1
    for images in by_patient.values():
        for name in ("Manufacturer", "PatientBirthDate", "PatientSex", "PatientAge"):
            assert len({str(image[name].value) for image in images}) == 1
        born = str(images[0].PatientBirthDate)
        for image in images:
            years = (int(image.StudyDate) - int(born)) // 10000
            assert years == int(image.PatientAge[:3])
        assert len({image.StudyInstanceUID for image in images}) == len(images)
    uids = [image.SOPInstanceUID for images in by_patient.values() for image in images]
    assert len(set(uids)) == len(uids)


def test_config_says_what_was_made(cohort):
    record = read_config(cohort, "phantom")
    assert record["seed"] == 3
    assert record["settings"]["patients"] == 12
    assert record["settings"]["settings"]["size"] == 80
    assert set(record["outputs"]) == {"labels.csv", "truth.csv"}


def test_finished_folder_is_left_alone_when_asked_the_same(cohort):
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    generate_phantom_cohort(cohort, 12, 3, SMALL, workers=1)
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*")} == before


@pytest.mark.parametrize(
    ("patients", "seed", "settings", "named"),
    [
        (13, 3, SMALL, "patients 12, not 13"),
        (12, 9, SMALL, "seed 3, not 9"),
        (12, 3, PhantomSettings(size=96), "settings.size 80, not 96"),
    ],
)
def test_finished_folder_with_other_settings_is_refused(cohort, patients, seed, settings, named):
    with pytest.raises(MedpriorError, match=named):
        generate_phantom_cohort(cohort, patients, seed, settings, workers=1)


def test_unfinished_folder_is_taken_up_again(cohort, tmp_path):
    out = tmp_path / "out"
    generate_phantom_cohort(out, 12, 3, SMALL, workers=1)
    request = json.loads((out / "config.json").read_text())
    (out / "config.json").unlink()
    (out / "labels.csv").unlink()
    (out / "started.json").write_text(json.dumps({"seed": 3, **request["settings"]}))
    with pytest.raises(MedpriorError, match="unfinished"):
        generate_phantom_cohort(out, 11, 3, SMALL, workers=1)
    generate_phantom_cohort(out, 12, 3, SMALL, workers=1)
    assert fingerprint(out) == fingerprint(cohort)


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(MedpriorError, match="not an empty folder"):
        generate_phantom_cohort(tmp_path, 2, 0, SMALL, workers=1)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MedpriorError, match="cannot be written"):
        generate_phantom_cohort(tmp_path / "file" / "out", 2, 0, SMALL, workers=1)


def test_no_patients_is_refused(tmp_path):
    with pytest.raises(MedpriorError, match="1 or more, found 0"):
        generate_phantom_cohort(tmp_path / "out", 0, 0, SMALL)


def test_plan_has_one_to_three_images_each(tmp_path):
    tasks = list(plan_images(tmp_path, 300, 0, SMALL))
    counts = np.bincount([task.patient for task in tasks])[1:]
    assert set(counts) == {1, 2, 3}
    assert 0.4 < (counts == 1).mean() < 0.6


def test_unknown_labels_are_as_rare_as_set():
    settings = PhantomSettings(size=64, unknown=0.2)
    values = [value for seed in range(60) for value in render_phantom(seed, 64, settings).labels.values()]
    assert 0.12 < np.isnan(values).mean() < 0.28
