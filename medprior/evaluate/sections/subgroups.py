"""mAUC of one model in subgroups by sex, age, projection and data source."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Resamples, average_estimates, estimate_auc_and_ap
from medprior.metrics.differences import Estimates

SUBGROUP_COLUMNS = ("sex", "view", "dataset")
AGE_BANDS_YEARS = (0, 18, 40, 60, 75, 130)  # years; our choice
MIN_SUBGROUP_IMAGES = 20  # images; intervals of smaller groups are uninformative


def find_subgroups(cohort: Cohort) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name (`sex.F`, `age.40-59` ...) and members bool [n] of every group of `MIN_SUBGROUP_IMAGES` or more.

    A column with one value only is left out.
    """
    table = cohort.manifest
    groupings = {name: table[name].replace("", pd.NA) for name in SUBGROUP_COLUMNS}
    labels = [f"{low}-{high - 1}" for low, high in itertools.pairwise(AGE_BANDS_YEARS)]
    groupings["age"] = pd.cut(table["age"], AGE_BANDS_YEARS, right=False, labels=labels)
    for name, values in groupings.items():
        known_values = values.dropna()
        if known_values.nunique() < 2:
            continue
        for value, count in known_values.value_counts(sort=False).items():
            if count >= MIN_SUBGROUP_IMAGES:
                yield f"{name}.{value}", (values == value).fillna(False).to_numpy(dtype=bool)


def estimate_subgroup_aucs(cohort: Cohort, truth: Floats, score: Floats, draws: Resamples) -> Estimates:
    """`subgroup.<column>.<value>.mauc` of one model, over the labels with both classes in the group.

    Shape:
        truth [n, C] in {0, 1, NaN}, score [n, C].
    """
    result: Estimates = {}
    for name, members in find_subgroups(cohort):
        group_truth = np.where(members[:, None], truth, np.nan)
        aucs, _ = estimate_auc_and_ap(group_truth, score, draws)
        defined = [estimate for estimate in aucs if not np.isnan(estimate.value)]
        if defined:
            n = int(members.sum())
            result[f"subgroup.{name}.mauc"] = average_estimates(defined, n, classes=len(defined))
    return result
