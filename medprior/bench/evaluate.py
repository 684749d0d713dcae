"""`medprior bench evaluate`: patient bootstrap of 14 findings in 25 000 images against scikit-learn."""

from __future__ import annotations

import os
import time

import numpy as np
from numpy.typing import NDArray

from medprior.metrics.auc import Array
from medprior.metrics.bootstrap import Resamples, estimate_auc_and_ap

IMAGES, PATIENTS, RESAMPLES, TIMED_RESAMPLES = 25_000, 7_000, 1_000, 3
# Shares of positives of the 14 findings in a large public screening set, rounded.
COMMON_PREVALENCE = (0.1, 0.025, 0.12, 0.18, 0.05, 0.057, 0.01, 0.05, 0.042, 0.02, 0.022, 0.015, 0.03)
PREVALENCE = (*COMMON_PREVALENCE, 0.002)


def simulate_scores(seed: int = 0) -> tuple[Array, Array, NDArray[np.int64]]:
    """Truth and score [25000, 14] and patients [25000], as in a public test list."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((IMAGES, len(PREVALENCE))) < PREVALENCE).astype(np.float64)
    score = rng.normal(size=truth.shape) + truth
    return truth, score, rng.integers(0, PATIENTS, IMAGES)


def time_medprior(truth: Array, score: Array, patients: NDArray[np.int64]) -> tuple[float, float]:
    """Elapsed and processor seconds for AUC and average precision with 1 000 resamples."""
    start, start_cpu = time.perf_counter(), time.process_time()
    estimate_auc_and_ap(truth, score, Resamples.draw(patients, RESAMPLES, seed=0))
    return time.perf_counter() - start, time.process_time() - start_cpu


def time_sklearn(truth: Array, score: Array, patients: NDArray[np.int64]) -> float:
    """Processor seconds of scikit-learn for the same, extrapolated from three resamples."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    draws = Resamples.draw(patients, TIMED_RESAMPLES, seed=0)
    weights = np.concatenate(draws.blocks, axis=1)[draws.patient]
    start = time.process_time()
    for resample in range(TIMED_RESAMPLES):
        rows = np.repeat(np.arange(IMAGES), weights[:, resample].astype(int))
        for t, s in zip(truth.T, score.T, strict=True):
            roc_auc_score(t[rows], s[rows])
            average_precision_score(t[rows], s[rows])
    return (time.process_time() - start) * RESAMPLES / TIMED_RESAMPLES


def main() -> None:
    """Print both times and their ratio; processor time, which other load on the machine hardly changes."""
    data = simulate_scores()
    (elapsed, medprior_seconds), sklearn_seconds = time_medprior(*data), time_sklearn(*data)
    print(
        f"patient bootstrap, AUC and AP: {RESAMPLES} resamples x {len(PREVALENCE)} findings x "
        f"{IMAGES} images on {os.cpu_count()} cores"
    )
    print(f"  medprior, processor time              {medprior_seconds:8.1f} s   (elapsed {elapsed:.1f} s)")
    print(f"  scikit-learn per resample (from {TIMED_RESAMPLES})   {sklearn_seconds:8.1f} s")
    print(f"  ratio                                 {sklearn_seconds / medprior_seconds:8.0f} x")
