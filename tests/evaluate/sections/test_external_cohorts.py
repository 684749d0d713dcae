"""Other cohorts: who is a stranger, what is compared, and that nothing is chosen there."""

import json

import numpy as np
import pytest

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.sections.external_cohorts import find_two_class_labels, find_unseen_images
from medprior.evaluate.settings import EvaluateSettings

QUICK = EvaluateSettings.checked({"resamples": 40, "map_size": 32, "probe": False})


@pytest.fixture(scope="module")
def metrics(planted_evidence):
    return json.loads((planted_evidence / "metrics.json").read_text())


def test_patients_known_at_home_are_left_out(planted_home, planted_away, metrics):
    home, other = Cohort.open(planted_home), Cohort.open(planted_away)
    ids = find_unseen_images(other, home)
    assert len(ids) == 60
    assert not set(other.select(ids).manifest.pixel_sha256) & set(home.manifest.pixel_sha256)
    assert metrics["external.away.data.images"]["value"] == 60
    assert metrics["external.away.data.left_out"]["value"] == 40
    assert metrics["external.away.data.patients"]["value"] == 30


def test_a_patient_with_one_known_picture_is_known(planted_home, planted_away):
    home, other = Cohort.open(planted_home), Cohort.open(planted_away)
    one = other.manifest.image_id[other.manifest.pixel_sha256.isin(home.manifest.pixel_sha256)]
    first = home.select(
        [home.image_ids[list(home.manifest.pixel_sha256).index(
            other.select([one.iloc[0]]).manifest.pixel_sha256.iloc[0])]]
    )  # fmt: skip
    ids = find_unseen_images(other, first)
    patient = other.select([one.iloc[0]]).patient_ids[0]
    assert len(ids) == len(other) - int((other.patient_ids == patient).sum())


def test_labels_need_both_classes_on_both_sides():
    home = np.array([[0, 0, 1], [1, 0, 0.0]])
    away = np.array([[1, 1, np.nan], [0, 0, 1.0]])
    kept, lost = find_two_class_labels(home, away, ["a", "b", "c"])
    assert kept == [0]
    assert len(lost) == 2


def test_a_cohort_of_the_same_patients_is_refused(tmp_path, planted_home, planted_models):
    with pytest.raises(InputMissing, match="every patient of this cohort is in the home cohort"):
        evaluate_cohort(
            planted_home, tmp_path / "out", model=planted_models["plain"], settings=QUICK,
            external=("again", planted_home),
        )  # fmt: skip
