"""Probes of each backbone beside what its training recorded."""

import numpy as np
import pytest

from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.sections.probes import average_probe_auc, evaluate_probes, read_teacher_statistics
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.networks import Backbone, load_backbone


def record_training(**values):
    return Backbone(None, {}, 32, {"training": values})


def test_only_finite_statistics_that_were_recorded_are_read():
    backbone = record_training(teacher_entropy=1.5, uniform_entropy=None, mean_entropy=float("nan"), loss=2.0)
    health = read_teacher_statistics(backbone)
    assert {key: (estimate.value, estimate.n) for key, estimate in health.items()} == {
        "features.teacher_entropy": (1.5, 0)
    }
    assert read_teacher_statistics(Backbone(None, {}, 32, {})) == {}


def test_the_mean_auc_is_over_labels(cohort):
    """The first label is ranked right, of the second one pair of four is."""
    study = EvaluationStudy.of(cohort, "all", frozenset(), EvaluateSettings.from_values({"resamples": 4}))
    truth, scores = np.full((2, len(cohort), 2), np.nan)
    scores[:] = 0
    truth[:4] = [[0, 0], [0, 0], [1, 1], [1, 1]]
    scores[:4] = [[1, 2], [2, 4], [3, 3], [4, 1]]
    estimate = average_probe_auc(truth, scores, study, {"C": 0.1})
    assert estimate.value == pytest.approx((1.0 + 0.25) / 2)
    assert estimate.facts == {"classes": 2, "C": 0.1}


def test_without_probes_only_the_health_of_the_teacher_is_told(cohort):
    settings = EvaluateSettings.from_values({"resamples": 4, "probe": False})
    study = EvaluationStudy.of(cohort, "test", frozenset(), settings)
    backbones = [
        NamedInput("first", None, record_training(teacher_entropy=1.0)),
        NamedInput("second", None, record_training(teacher_entropy=3.0)),
    ]
    section = evaluate_probes(study, backbones)
    values = {key: estimate.value for key, estimate in section.estimates.items()}
    assert values == {"features.teacher_entropy": 1.0, "baseline.second.features.teacher_entropy": 3.0}
    assert section.skipped == []


def test_why_probes_are_missing_is_told(cohort, span_path):
    study = EvaluationStudy.of(cohort, "val", frozenset(), EvaluateSettings.from_values({"resamples": 4}))
    section = evaluate_probes(study, [NamedInput("span", None, load_backbone(span_path))])
    assert section.skipped == ["probes: they need train, val and test, and evaluate test only"]
    assert not [key for key in section.estimates if "mauc" in key]
