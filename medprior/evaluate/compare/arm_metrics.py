"""One arm of a comparison over its seeds, with what was lost of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medprior.evaluate.compare.failed_runs import BACKBONE_STAGE, list_failures, read_failed_stages
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.compare.seeds import average_over_seeds
from medprior.evaluate.study import exact_estimate
from medprior.metrics.differences import Estimates


def estimate_arm_metrics(runs: Sequence[ComparisonRun], every: Sequence[Estimates], stream: int) -> Estimates:
    """Means over the seeds that have a number, and `runs.done` and `runs.lost`.

    Args:
        runs: of the arm, a seed each.
        every: their estimates, empty for a lost run.
        stream: of the random draw of seeds, another for every arm.
    """
    keys = dict.fromkeys(key for one in every for key in one)
    found = {key: average_over_seeds([one[key] for one in every if key in one], stream) for key in keys}
    lost = [read_failed_stages(run.folder) for run in runs]
    gone = sum(BACKBONE_STAGE in stages or not one for stages, one in zip(lost, every, strict=True))
    failures = list_failures(lost)
    facts = {"of": len(runs), "failures": failures} if failures else {"of": len(runs)}
    found["runs.lost"] = exact_estimate(gone, 0, **facts)
    found["runs.done"] = exact_estimate(len(runs) - gone, 0, of=len(runs))
    return found


def has_runs_left(estimates: Estimates) -> bool:
    """Whether any run of the arm is left."""
    return bool(np.any(estimates["runs.done"].value))
