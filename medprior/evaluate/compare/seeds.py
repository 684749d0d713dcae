"""One estimate out of several training seeds: its interval covers patients and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medprior.metrics.bootstrap import Estimate


def average_over_seeds(estimates: Sequence[Estimate], stream: int) -> Estimate:
    """The mean over training seeds.

    In every resample of patients the seeds are drawn with replacement too, so that the interval
    speaks of training again as well as of other patients. With few seeds that part is rough (our
    choice; three seeds give their spread, no more).

    Args:
        estimates: one per seed, from the same `Resamples`.
        stream: of the random draw; recipes that are compared need different ones.
    """
    samples = np.stack([estimate.samples for estimate in estimates])
    count, resamples = samples.shape
    picked = np.random.default_rng([stream, 31]).integers(count, size=(count, resamples))
    mean = np.take_along_axis(samples, picked, axis=0).mean(axis=0)
    values = [estimate.value for estimate in estimates]
    facts = {"seeds": [float(value) for value in values]}
    return Estimate(float(np.mean(values)), mean, estimates[0].n, facts)
