"""Selection of images and labels for the probes of frozen features."""

from __future__ import annotations

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.study import EvaluationStudy
from medprior.metrics.auc import Floats
from medprior.metrics.classification import validate_binary_labels


def select_probe_data(study: EvaluationStudy) -> tuple[dict[str, Cohort], dict[str, Floats], str]:
    """Images and truth of "train", "val" and "test"; or the reason why there are none."""
    labels, reason = select_probe_labels(study)
    if reason:
        return {}, {}, reason
    parts = select_probe_images(study)
    return parts, {name: part.labels(labels) for name, part in parts.items()}, ""


def select_probe_labels(study: EvaluationStudy) -> tuple[list[str], str]:
    """Labels with `probe_least` images of either class in every part; or the reason for none."""
    labels = study.cohort.label_names
    if not labels:
        return [], "the cohort has no labels"
    splits = set(study.cohort.manifest.split)
    if study.split != "test" or not {"train", "val", "test"} <= splits:
        return [], "they need train, val and test, and evaluate test only"
    truths = [validate_binary_labels(part.labels(), labels) for part in select_probe_images(study).values()]
    counts = [[(truth == value).sum(axis=0) for value in (0, 1)] for truth in truths]
    usable = np.flatnonzero(np.min(counts, axis=(0, 1)) >= study.settings.probe_least)
    if not len(usable):
        return [], "no label has both classes in train, val and test"
    return [labels[i] for i in usable], ""


def select_probe_images(study: EvaluationStudy) -> dict[str, Cohort]:
    """Images to train a probe, to choose its penalty and to test it."""
    limit, seed = study.settings.probe_images, study.settings.seed
    return {
        "train": study.cohort.split("train").take(limit, seed),
        "val": study.cohort.split("val"),
        "test": study.part,
    }
