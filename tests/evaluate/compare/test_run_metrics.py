"""Estimates of a run from its stored scores."""

import numpy as np
import pytest

from medprior.evaluate.compare.run_metrics import estimate_run_metrics, is_budget_key, select_scores
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy


@pytest.fixture(scope="module")
def study(cohort):
    return EvaluationStudy.of(cohort, "all", frozenset(), EvaluateSettings.from_values({"resamples": 5}))


@pytest.fixture(scope="module")
def scores(study):
    """The truth of `wide` is that of every third image; the scores are right, wrong or blind."""
    n = len(study.part)
    truth = (np.arange(n) % 3 == 0).astype(float)
    return {
        "truth": truth[:, None],
        "100pct.linear_mauc": truth[:, None],
        "100pct.random_linear_mauc": np.zeros((n, 1)),
        "10pct.linear_mauc": 1 - truth[:, None],
        "truth.wide": truth,
        "100pct.classification.wide": truth,
        "10pct.classification.wide": 1 - truth,
        "masks_5.segmentation.heart": np.full(n, 0.25),
        "masks_5.segmentation.left_lung": np.full(n, 0.75),
        "ap.heart": np.full(n, 0.5),
        "spatial_entropy": np.full(n, 1.5),
        "tuned.ap.heart": np.full(n, 0.8),
        "teacher_entropy": np.array([2.5]),
        "cost.step_seconds": np.array([3.5]),
    }


def test_values_and_keys_of_a_run(scores, study):
    estimates = estimate_run_metrics(scores, study)
    assert {key: estimate.value for key, estimate in estimates.items()} == pytest.approx({
        "attention.pixel_ap.heart": 0.5,
        "attention.pixel_ap.mean": 0.5,
        "attention.spatial_entropy": 1.5,
        "finetuned_attention.pixel_ap.heart": 0.8,
        "finetuned_attention.pixel_ap.mean": 0.8,
        "features.teacher_entropy": 2.5,
        "cost.step_seconds": 3.5,
        "features.linear_mauc": 1.0,
        "features.random_linear_mauc": 0.5,
        "classification.auc.wide": 1.0,
        "classification.mauc": 1.0,
        "classification.map": 1.0,
        "low_data.100pct.linear_mauc": 1.0,
        "low_data.100pct.random_linear_mauc": 0.5,
        "low_data.100pct.finetuned_mauc": 1.0,
        "low_data.10pct.linear_mauc": 0.0,
        "low_data.10pct.finetuned_mauc": 0.0,
        "low_data.masks_5.finetuned_dice": 0.5,
    })  # fmt: skip
    assert estimates["features.teacher_entropy"].samples.tolist() == [2.5] * 5
    assert estimate_run_metrics({}, study) == {}


def test_label_draws_are_averaged(scores, study):
    """Right, wrong and right again: AUC 2/3, of the same resamples of patients."""
    truth = scores["truth"]
    draws = {"truth": truth, "1pct.linear_mauc": np.stack([truth, 1 - truth, truth])}
    estimate = estimate_run_metrics(draws, study)["low_data.1pct.linear_mauc"]
    assert estimate.value == pytest.approx(2 / 3)
    assert estimate.samples == pytest.approx(np.full(5, 2 / 3))


def test_budgets_are_shares_and_masks():
    assert [is_budget_key(key) for key in ("0p1pct.knn_mauc", "masks_5.segmentation.x")] == [True, True]
    assert not any(is_budget_key(key) for key in ("truth.pct", "ap.heart", "tuned.ap.heart", "crossval.knn_mauc"))


def test_a_prefix_is_cut_from_the_front_alone():
    assert select_scores({"ap.ap.x": 1, "tuned.ap.x": 2}, "ap.") == {"ap.x": 1}
