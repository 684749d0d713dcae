"""Images and resamples of an evaluation, and the results of its sections."""

import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy, Section, add_structure_means, exact_estimate
from medprior.metrics.bootstrap import Estimate

SETTINGS = EvaluateSettings.from_values({"resamples": 4})


def test_annotated_images_are_not_evaluated_but_give_a_threshold(cohort):
    test, train = cohort.split("test"), cohort.split("train")
    excluded = frozenset({test.image_ids[0], train.image_ids[0]})
    study = EvaluationStudy.of(cohort, "test", excluded, SETTINGS)
    assert list(study.part.image_ids) == list(test.image_ids[1:])
    assert study.excluded == {test.image_ids[0]}
    assert set(study.annotated.image_ids) == excluded
    assert len(study.draws.patient) == len(study.part)
    assert EvaluationStudy.of(cohort, "test", frozenset(), SETTINGS).annotated is None


@pytest.fixture
def people(tmp_path):
    """Five images of three patients: two women, a man, and one of unknown sex and age."""
    rows = [("p0", "F", 30.0), ("p0", "F", 30.0), ("p1", "M", 50.0), ("p2", None, None), ("p2", "F", 90.0)]
    with CohortWriter(tmp_path / "c", store_size=16) as writer:
        for number, (patient, sex, age) in enumerate(rows):
            pixels = np.full((16, 16), number / 8, np.float32)
            writer.add(image_id=f"i{number}", pixels=pixels, patient_id=patient, sex=sex, age=age, view="PA")
        writer.finish()
    return Cohort.open(tmp_path / "c")


def test_images_patients_and_people_are_counted(people):
    summary = EvaluationStudy.of(people, "all", frozenset({"i4"}), SETTINGS).summarise_data()
    values = {key: estimate.value for key, estimate in summary.items()}
    assert values["data.images.evaluated"] == 4
    assert values["data.patients.evaluated"] == 3
    assert sum(values[f"data.images.{name}"] for name in ("train", "val", "test")) == 5
    assert sum(values[f"data.patients.{name}"] for name in ("train", "val", "test")) == 3
    assert {key: value for key, value in values.items() if "sex" in key} == {
        "data.sex.F": 2, "data.sex.M": 1, "data.sex.unknown": 1,
    }  # fmt: skip
    assert (values["data.age.median"], summary["data.age.median"].n) == (30, 3)
    assert values["data.view.PA"] == 4


def test_the_first_source_is_primary_and_the_difference_is_first_minus_other():
    section = Section()
    section.add_source_estimates({})
    assert section.estimates == {}
    section.add_source_estimates(
        {name: {"a.b": Estimate(value, np.full(4, value), 9)} for name, value in (("x", 3.0), ("y", 1.0))}
    )
    values = {key: estimate.value for key, estimate in section.estimates.items()}
    assert values == {"a.b": 3.0, "baseline.y.a.b": 1.0, "difference.y.a.b": 2.0}


def test_a_mean_is_over_the_structures_of_its_prefix_alone():
    def constant(value, n):
        return Estimate(value, np.full(4, value), n)

    estimates = {"x.ap.heart": constant(0.2, 3), "x.ap.lung": constant(0.6, 5), "x.ap_other.heart": constant(9.0, 7)}
    add_structure_means(estimates, ["x.ap", "x.dice"])
    mean = estimates["x.ap.mean"]
    assert (mean.value, mean.n) == (pytest.approx(0.4), 5)
    assert mean.facts == {"structures": ["heart", "lung"]}
    assert "x.dice.mean" not in estimates


def test_an_exact_number_has_no_interval():
    estimate = exact_estimate(3, 5, of=7)
    assert estimate.record() == {"value": 3.0, "ci95": [None, None], "n": 5, "of": 7}
