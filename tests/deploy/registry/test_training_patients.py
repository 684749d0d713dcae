"""Training patients of a registered model, and those the gate compares on."""

import json

import pytest

from medprior.cohort import Cohort
from medprior.deploy import register_model
from medprior.deploy.promotion.promote import promote_challenger
from medprior.deploy.registry.training_patients import (
    count_training_overlap,
    fingerprint_patient,
    list_training_patients,
    write_training_patients,
)
from medprior.errors import InputMissing, MedpriorError
from tests.deploy.discs import disc_cohort
from tests.deploy.promotable import FAST_GATE, make_alias_champion


def test_its_own_training_patients_are_no_judges(filled_uri, discs, disc_models, tmp_path):
    make_alias_champion(filled_uri, "weak")
    with pytest.raises(MedpriorError, match="patients apart: trained on this cohort"):
        promote_challenger("cxr", discs, "@good", split="val", settings=FAST_GATE, tracking_uri=filled_uri)
    # The same patients in another cohort: only the record of the registration can tell. (A patient
    # falls into the same split in every cohort, so that its own test split is free of them.)
    other = disc_cohort(tmp_path / "other", patients=100)
    facts = promote_challenger("cxr", other, "@good", settings=FAST_GATE, tracking_uri=filled_uri)
    assert any("not recorded" in check["text"] for check in facts["checks"])
    register_model(disc_models["again"], "cxr", "told", tracking_uri=filled_uri, cohorts=[discs])
    with pytest.raises(MedpriorError, match=r"patients apart: 1\d\d training patients recorded"):
        promote_challenger("cxr", other, "@told", split="train", settings=FAST_GATE, tracking_uri=filled_uri)
    strangers = disc_cohort(tmp_path / "strangers", patients=150, first=5000)
    promote_challenger("cxr", strangers, "@told", settings=FAST_GATE, tracking_uri=filled_uri)
    with pytest.raises(MedpriorError, match="trained on another cohort"):
        register_model(disc_models["again"], "cxr", "told", tracking_uri=filled_uri, cohorts=[other])


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


def test_each_model_gets_the_record_of_its_own_cohort(discs, disc_models, classifier, phantom_cohort, tmp_path):
    """Two models of two cohorts: only the one trained on the named cohort is recorded."""
    folders = {}
    for name, model in (("model", disc_models["good"]), ("segmenter", classifier)):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        (folders[name] / "config.json").write_text((model / "config.json").read_text())
    write_training_patients(folders, [phantom_cohort])
    assert not (folders["model"] / "training_patients.json").exists()
    record = json.loads((folders["segmenter"] / "training_patients.json").read_text())
    expected = {fingerprint_patient(name) for name in list_training_patients(Cohort.open(phantom_cohort))}
    assert set(record["patients"]) == expected
    assert record["patients"] == sorted(record["patients"])
