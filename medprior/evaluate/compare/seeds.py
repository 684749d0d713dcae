"""Mean of estimates over training seeds, with an interval over patients and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medprior.metrics.bootstrap import Estimate


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
