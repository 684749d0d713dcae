"""A cohort on disk: layout, tables and determinism."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import numpy as np
import pydicom
from PIL import Image

from medprior.phantom import FINDINGS, STRUCTURES, PhantomSettings, generate_phantom_cohort, render_phantom
from medprior.phantom.generate import ImageTask, create_identity, format_label, plan_images
from medprior.phantom.request import STARTED_FILE
from medprior.provenance import read_config
from tests.phantom.cohorts import SMALL, fingerprint, table


def test_same_seed_gives_same_bytes_whatever_the_workers(small_cohort, tmp_path):
    generate_phantom_cohort(tmp_path / "two", 12, 3, SMALL, workers=2)
    assert fingerprint(tmp_path / "two") == fingerprint(small_cohort)


def test_other_seed_gives_other_pictures(small_cohort, tmp_path):
    generate_phantom_cohort(tmp_path / "other", 2, 4, SMALL, workers=1)
    ours, theirs = ({r["sha256"] for r in table(p / "truth.csv")} for p in (small_cohort, tmp_path / "other"))
    assert not ours & theirs


def test_more_patients_keep_the_first_ones(small_cohort, tmp_path):
    generate_phantom_cohort(tmp_path / "few", 3, 3, SMALL, workers=1)
    few, many = table(tmp_path / "few" / "truth.csv"), table(small_cohort / "truth.csv")
    assert few == many[: len(few)]


def test_every_image_has_file_masks_and_rows(small_cohort):
    labels, truth = table(small_cohort / "labels.csv"), table(small_cohort / "truth.csv")
    assert [row["image"] for row in labels] == [row["image"] for row in truth]
    assert list(labels[0]) == ["image", "patient_id", *FINDINGS]
    for row, true in zip(labels, truth, strict=True):
        path = small_cohort / row["image"]
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert dataset.PatientID == row["patient_id"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == true["sha256"]
        present = {name for name in FINDINGS if true[name] == "1"}
        masks = {mask.stem: mask for mask in (small_cohort / "masks" / path.stem).iterdir()}
        assert set(masks) == set(STRUCTURES) | present
        for mask in masks.values():
            values = np.asarray(Image.open(mask))
            assert values.shape == (dataset.Rows, dataset.Columns)
            assert values.any()
        for name in FINDINGS:
            assert row[name] in {"", true[name]}
        limit = SMALL.cardiothoracic_limit
        assert (float(true["ctr"]) > limit) == (true["cardiomegaly"] == "1")


def test_patients_have_several_images_of_one_vendor_age_and_birth_date(small_cohort):
    by_patient = {}
    for path in sorted(small_cohort.glob("dicom/*/*.dcm")):
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


def test_a_finished_folder_bears_no_mark_of_a_begun_one(small_cohort):
    assert not (small_cohort / STARTED_FILE).exists()


def test_config_says_what_was_made(small_cohort):
    record = read_config(small_cohort, "phantom")
    assert record["seed"] == 3
    assert record["settings"]["patients"] == 12
    assert record["settings"]["settings"]["size"] == 80
    assert set(record["outputs"]) == {"labels.csv", "truth.csv"}


def test_plan_has_one_to_three_images_each(tmp_path):
    tasks = list(plan_images(tmp_path, 300, 0, SMALL))
    counts = np.bincount([task.patient for task in tasks])[1:]
    assert set(counts) == {1, 2, 3}
    assert 0.4 < (counts == 1).mean() < 0.6


def test_unknown_labels_are_as_rare_as_set():
    settings = PhantomSettings(size=64, unknown=0.2)
    values = [value for seed in range(60) for value in render_phantom(seed, 64, settings).labels.values()]
    assert 0.12 < np.isnan(values).mean() < 0.28


def test_labels_are_digits_and_unknown_ones_empty():
    assert [format_label(value) for value in (0.0, 1.0, float("nan"))] == ["0", "1", ""]


def test_identifiers_count_from_one_and_later_images_have_later_dates(tmp_path):
    first, second, third = (create_identity(ImageTask(tmp_path, 7, 12, image, SMALL), 54.0) for image in range(3))
    assert (first.patient, first.number, first.study, first.image) == ("phantom-7-00012", 12, 1, "phantom-7-00012-1")
    assert (third.study, third.image) == (3, "phantom-7-00012-3")
    assert timedelta(5) <= second.study_date - first.study_date == third.study_date - second.study_date < timedelta(100)
    assert first.birth_date == third.birth_date == first.study_date - timedelta(int(54.1 * 365.25))


def test_one_image_each_is_the_plan_where_one_is_the_most(tmp_path):
    tasks = list(plan_images(tmp_path, 40, 0, PhantomSettings(max_images=1)))
    assert [(task.patient, task.image) for task in tasks] == [(patient, 0) for patient in range(1, 41)]
    images = [task.image for task in plan_images(tmp_path, 300, 0, PhantomSettings(max_images=2))]
    assert set(images) == {0, 1}
