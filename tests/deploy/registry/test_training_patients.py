"""Training patients of a registered model, and those the gate compares on."""

import json

import pytest

from medprior.cohort import Cohort
from medprior.deploy.registry.training_patients import (
    count_training_overlap,
    fingerprint_patient,
    list_training_patients,
    write_training_patients,
)
from medprior.errors import InputMissing
from medprior.provenance import write_config


def test_a_fingerprint_is_24_hex_digits_of_the_salted_pseudonym():
    """`printf medprior/patient/p1 | sha256sum | cut -c1-24`."""
    assert fingerprint_patient("p1") == "7bd99f2be3ba85e6b2e8c982"


def test_patients_of_train_and_val_are_training_patients(phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    patients = list_training_patients(cohort)
    assert patients == set(cohort.split("train").patient_ids) | set(cohort.split("val").patient_ids)
    assert not patients & set(cohort.split("test").patient_ids)


def test_recorded_patients_are_counted_once_each(phantom_cohort, tmp_path):
    record = {"cohort": "c" * 64, "patients": [fingerprint_patient(name) for name in ("a", "b", "c")]}
    (tmp_path / "training_patients.json").write_text(json.dumps(record))
    cohort = Cohort.open(phantom_cohort)
    shared, text = count_training_overlap(tmp_path, cohort, ["b", "x", "b", "c"])
    assert (shared, text) == (2, "3 training patients recorded, 2 of them judged on")
    assert count_training_overlap(tmp_path, cohort, ["x"])[0] == 0


@pytest.mark.parametrize("text", ["[]", "{}", '{"patients": 3}', "no json"])
def test_a_damaged_record_is_refused(phantom_cohort, tmp_path, text):
    (tmp_path / "training_patients.json").write_text(text)
    with pytest.raises(InputMissing, match="is damaged"):
        count_training_overlap(tmp_path, Cohort.open(phantom_cohort), ["x"])


def write_model(folder, cohort):
    """A model folder that says which cohort it was trained on."""
    folder.mkdir()
    write_config(folder, "finetune", {}, inputs={"cohort": cohort} if cohort else {})
    return folder


def test_without_a_record_the_cohort_of_the_training_tells(phantom_cohort, tmp_path):
    cohort = Cohort.open(phantom_cohort)
    trained = cohort.split("val").patient_ids[0]
    patients = [trained, trained, cohort.split("test").patient_ids[0], "stranger"]
    here = write_model(tmp_path / "here", phantom_cohort)
    shared, text = count_training_overlap(here, cohort, patients)
    assert (shared, text) == (1, "trained on this cohort, 1 patients of its train and val judged on")
    assert count_training_overlap(here, cohort, patients[2:])[0] == 0
    shared, text = count_training_overlap(write_model(tmp_path / "away", None), cohort, patients)
    assert shared is None
    assert text.startswith("not recorded")


def test_a_cohort_that_no_model_was_trained_on_is_refused(phantom_cohort, tmp_path):
    folder = write_model(tmp_path / "model", None)
    with pytest.raises(InputMissing, match="trained on another cohort"):
        write_training_patients({"model": folder}, [phantom_cohort])
    assert not (folder / "training_patients.json").exists()
    write_training_patients({"model": folder}, [])


def test_each_model_gets_the_record_of_its_own_cohort(phantom_cohort, tmp_path):
    """Two models of two cohorts: only the one trained on the named cohort is recorded."""
    folders = {
        "model": write_model(tmp_path / "model", None),
        "segmenter": write_model(tmp_path / "segmenter", phantom_cohort),
    }
    write_training_patients(folders, [phantom_cohort])
    assert not (folders["model"] / "training_patients.json").exists()
    record = json.loads((folders["segmenter"] / "training_patients.json").read_text())
    expected = {fingerprint_patient(name) for name in list_training_patients(Cohort.open(phantom_cohort))}
    assert set(record["patients"]) == expected
    assert record["patients"] == sorted(record["patients"])
