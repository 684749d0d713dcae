"""Which images and labels frozen features are asked for."""

from __future__ import annotations

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.study import Study
from medprior.metrics.auc import Floats
from medprior.metrics.classification import checked_truth


def probe_parts(study: Study) -> tuple[dict[str, Cohort], dict[str, Floats], str]:
    """Images and truth that train, choose and test a probe; or why there can be none."""
    labels, why = probe_labels(study)
    if why:
        return {}, {}, why
    parts = asked_parts(study)
    return parts, {name: part.labels(labels) for name, part in parts.items()}, ""


def probe_labels(study: Study) -> tuple[list[str], str]:
    """Labels with `probe_least` images of either class in every part; or why there are none."""
    labels = study.cohort.label_names
    if not labels:
        return [], "the cohort has no labels"
    splits = set(study.cohort.manifest.split)
    if study.split != "test" or not {"train", "val", "test"} <= splits:
        return [], "they need train, val and test, and judge test only"
    every = [checked_truth(part.labels(), labels) for part in asked_parts(study).values()]
    counts = [[(truth == value).sum(axis=0) for value in (0, 1)] for truth in every]
    usable = np.flatnonzero(np.min(counts, axis=(0, 1)) >= study.settings.probe_least)
    if not len(usable):
        return [], "no label has both classes in train, val and test"
    return [labels[i] for i in usable], ""


def asked_parts(study: Study) -> dict[str, Cohort]:
    """Images that train, choose and test a probe."""
    limit, seed = study.settings.probe_images, study.settings.seed
    return {
        "train": study.cohort.split("train").take(limit, seed),
        "val": study.cohort.split("val"),
        "test": study.part,
    }
