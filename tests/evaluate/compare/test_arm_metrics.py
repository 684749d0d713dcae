"""Means over training seeds, and runs that were lost."""

import numpy as np
import pytest

from medprior.errors import TrainingCollapsed, TrainingDiverged
from medprior.evaluate.compare.arm_metrics import average_over_seeds, estimate_arm_metrics, has_finished_run
from medprior.evaluate.compare.failed_runs import record_failure
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.compare.settings import Arm
from medprior.metrics.bootstrap import Estimate


def test_over_seeds_covers_patients_and_seeds():
    rng = np.random.default_rng(0)
    same = [Estimate(0.5, np.full(500, 0.5), 9), Estimate(0.9, np.full(500, 0.9), 9)]
    mean = average_over_seeds(same, 0)
    assert mean.value == pytest.approx(0.7)
    assert mean.interval() == pytest.approx((0.5, 0.9))
    assert mean.facts["seeds"] == [0.5, 0.9]
    one = Estimate(0.5, rng.normal(0.5, 0.1, 500), 9)
    np.testing.assert_array_equal(average_over_seeds([one], 3).samples, one.samples)


def test_a_resample_draws_seeds_with_the_same_patients():
    """Every resample is the mean of two draws from its own two values."""
    first, second = np.arange(400.0), np.arange(400.0) + 1000
    mean = average_over_seeds([Estimate(0.0, first, 9), Estimate(1.0, second, 9)], 0)
    shift = mean.samples - np.arange(400)
    assert set(shift) == {0.0, 500.0, 1000.0}
    other = average_over_seeds([Estimate(0.0, first, 9), Estimate(1.0, second, 9)], 1)
    assert (other.samples != mean.samples).any()


def test_a_run_is_lost_by_its_backbone_or_without_any_score(tmp_path):
    """A fine-tuned model alone that is lost leaves its run finished."""
    runs = [ComparisonRun(tmp_path / str(seed), Arm(), seed) for seed in range(4)]
    record_failure(runs[1].folder, "backbone", TrainingCollapsed("collapsed at step 3"))
    record_failure(runs[2].folder, "segmentation-1pct", TrainingDiverged("diverged at step 5"))
    estimate = {"a.b": Estimate(0.5, np.full(4, 0.5), 9)}
    more = {"a.b": Estimate(0.7, np.full(4, 0.7), 9), "c.d": Estimate(0.2, np.full(4, 0.2), 9)}
    metrics = estimate_arm_metrics(runs, [estimate, {}, more, {}], 0)
    assert metrics["a.b"].value == pytest.approx(0.6)
    assert metrics["c.d"].facts["seeds"] == [0.2]
    assert (metrics["runs.lost"].value, metrics["runs.done"].value) == (2, 2)
    rows = [(row["seed"], row["stage"]) for row in metrics["runs.lost"].facts["failures"]]
    assert rows == [(1, "backbone"), (2, "segmentation-1pct")]
    assert has_finished_run(metrics)
    lost = estimate_arm_metrics(runs[3:], [{}], 0)
    assert not has_finished_run(lost)
    assert lost["runs.lost"].facts == {"of": 1}
