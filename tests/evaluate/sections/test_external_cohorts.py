"""Other cohorts: who is a stranger, what is compared, and that nothing is chosen there."""

import json

import numpy as np
import pytest

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.sections.external_cohorts import (
    ExternalCohort,
    compare_external_to_home,
    find_two_class_labels,
    find_unseen_images,
    open_external_cohorts,
    select_structure_estimates,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.bootstrap import Estimate, Resamples

QUICK = EvaluateSettings.from_values({"resamples": 40, "map_size": 32, "probe": False})


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


def constant(value):
    return Estimate(value, np.full(4, value), 9)


def test_the_drop_is_away_minus_home_where_both_are_known(planted_away):
    part = Cohort.open(planted_away)
    external = ExternalCohort("far", part, part, 0, Resamples.draw(part.patient_ids, 4, 0))
    estimates = compare_external_to_home(external, {"a": constant(0.7), "b": constant(0.5)}, {"a": constant(0.9)})
    assert {key: estimate.value for key, estimate in estimates.items()} == pytest.approx(
        {"external.far.a": 0.7, "external.far.home.a": 0.9, "external.far.drop.a": -0.2, "external.far.b": 0.5}
    )


def test_the_mean_is_over_the_named_structures_with_a_number():
    unknown = Estimate(np.nan, np.full(4, np.nan), 0)
    estimates = {
        "dice.heart": constant(0.4),
        "dice.lung": constant(0.8),
        "dice.rib": constant(0.0),
        "dice.gap": unknown,
    }
    selected = select_structure_estimates(estimates, "dice", ["heart", "lung", "gap"], 30)
    assert {key: estimate.value for key, estimate in selected.items()} == pytest.approx(
        {"dice.heart": 0.4, "dice.lung": 0.8, "dice.mean": 0.6}
    )
    assert selected["dice.mean"].n == 30
    assert select_structure_estimates(estimates, "dice", ["gap"], 30) == {}


def test_every_other_cohort_has_resamples_of_its_own(planted_home, planted_away):
    home = Cohort.open(planted_home)
    first, second = open_external_cohorts([("a", planted_away), ("b", planted_away)], home, QUICK)
    assert (first.name, len(first.part), first.shared, first.prefix) == ("a", 60, 40, "external.a")
    assert (first.draws.blocks[0] != second.draws.blocks[0]).any()
    assert open_external_cohorts(None, home, QUICK) == ()
