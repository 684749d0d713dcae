"""Metrics of one arm: means over training seeds, and counts of finished and failed runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medprior.evaluate.compare.failed_runs import BACKBONE_STAGE, list_failures, read_failed_stages
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.study import exact_estimate
from medprior.metrics.bootstrap import Estimate
from medprior.metrics.differences import Estimates


def estimate_arm_metrics(runs: Sequence[ComparisonRun], run_estimates: Sequence[Estimates], stream: int) -> Estimates:
    """Means over the seeds that have a metric, and `runs.done` and `runs.lost`.

    Args:
        runs: of the arm, one per seed.
        run_estimates: their estimates, empty for a failed run.
        stream: of the resampling of seeds, different for every arm.
    """
    keys = dict.fromkeys(key for estimates in run_estimates for key in estimates)
    result = {key: average_over_seeds([seed[key] for seed in run_estimates if key in seed], stream) for key in keys}
    failed_stages = [read_failed_stages(run.folder) for run in runs]
    pairs = zip(failed_stages, run_estimates, strict=True)
    failed_count = sum(BACKBONE_STAGE in stages or not estimates for stages, estimates in pairs)
    failures = list_failures(failed_stages)
    facts = {"of": len(runs), "failures": failures} if failures else {"of": len(runs)}
    result["runs.lost"] = exact_estimate(failed_count, 0, **facts)
    result["runs.done"] = exact_estimate(len(runs) - failed_count, 0, of=len(runs))
    return result


def average_over_seeds(estimates: Sequence[Estimate], stream: int) -> Estimate:
    """The mean over training seeds.

    Every resample of patients also resamples the seeds with replacement, so the interval covers
    retraining as well as other patients. With few seeds the seed part is a rough estimate (our
    choice).

    Args:
        estimates: one per seed, from the same `Resamples`.
        stream: of the random generator; compared arms need different ones.
    """
    samples = np.stack([estimate.samples for estimate in estimates])
    count, resamples = samples.shape
    seed_indices = np.random.default_rng([stream, 31]).integers(count, size=(count, resamples))
    mean = np.take_along_axis(samples, seed_indices, axis=0).mean(axis=0)
    values = [estimate.value for estimate in estimates]
    facts = {"seeds": [float(value) for value in values]}
    return Estimate(float(np.mean(values)), mean, estimates[0].n, facts)


def has_finished_run(estimates: Estimates) -> bool:
    """Whether any run of the arm finished."""
    return bool(np.any(estimates["runs.done"].value))
