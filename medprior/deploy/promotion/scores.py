"""Scores one model on the gate's images: quality, calibration, images with non-finite output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medprior.errors import InputMissing
from medprior.evaluate.sections.models import score_segmentation
from medprior.evaluate.sections.segmentation import estimate_segmentation
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.model import Model
from medprior.metrics.bootstrap import Estimate
from medprior.metrics.classification import estimate_classification, validate_binary_labels
from medprior.networks.device import select_device

QUALITY_KEYS = {"classification": "classification.mauc", "segmentation": "segmentation.dice.mean"}


@dataclass(frozen=True)
class GateScores:
    """Scores of one model on the gate's images.

    Attributes:
        key: name of `quality` in `metrics.json`.
        quality: mAUC or mean Dice; None if an output is not finite.
        ece: expected calibration error, None for segmentation.
        nonfinite_images: images for which an output of the network is not finite.
    """

    key: str
    quality: Estimate | None
    ece: Estimate | None
    nonfinite_images: int

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        estimates = {self.key: self.quality, "classification.ece": self.ece}
        records = {key: estimate.record() for key, estimate in estimates.items() if estimate is not None}
        return {**records, "images_without_finite_output": self.nonfinite_images}


@contextmanager
def count_nonfinite_images(model: Model) -> Iterator[list[int]]:
    """Count the images whose raw output is not finite everywhere, per batch, during the block."""
    counts: list[int] = []

    def count_batch(module: Any, inputs: Any, output: torch.Tensor) -> None:
        """Count one batch."""
        counts.append(int((~torch.isfinite(output).flatten(1).all(dim=1)).sum()))

    handle = model.network.register_forward_hook(count_batch)
    try:
        yield counts
    finally:
        handle.remove()


def score_model(study: EvaluationStudy, model: Model, names: Sequence[str]) -> GateScores:
    """Score `model` on the study's images for the labels or structures `names`."""
    model.network.to(select_device(study.settings.device))
    classify = model.task == "classification"
    scores = _score_findings(study, model, names) if classify else _score_masks(study, model, names)
    model.network.to("cpu")
    return scores


def _score_findings(study: EvaluationStudy, model: Model, labels: Sequence[str]) -> GateScores:
    key = QUALITY_KEYS["classification"]
    columns = [model.labels.index(label) for label in labels]
    with count_nonfinite_images(model) as counts:
        probability = model.predict_cohort(study.part, study.settings.batch)[:, columns]
    if sum(counts) or not np.isfinite(probability).all():
        return GateScores(key, None, None, max(sum(counts), 1))
    truth = validate_binary_labels(study.part.labels(labels), labels)
    thresholds = model.threshold[columns]
    bins = study.settings.ece_bins
    estimates = estimate_classification(truth, probability, labels, thresholds, study.draws, bins)
    return GateScores(key, estimates[key], estimates["classification.ece"], 0)


def _score_masks(study: EvaluationStudy, model: Model, structures: Sequence[str]) -> GateScores:
    key = QUALITY_KEYS["segmentation"]
    with count_nonfinite_images(model) as counts:
        scores, _ = score_segmentation(study.part, model, with_distances=False)
    if sum(counts):
        return GateScores(key, None, None, sum(counts))
    estimates = estimate_segmentation({name: scores[name] for name in structures}, study.draws)
    return GateScores(key, estimates.get(key), None, 0)


def find_shared_labels(study: EvaluationStudy, models: Sequence[Model]) -> list[str]:
    """Labels or structures that every model predicts and the cohort has.

    Raises:
        InputMissing: there are none.
    """
    classify = models[0].task == "classification"
    available = study.cohort.label_names if classify else study.part.structures
    names = [name for name in models[0].labels if all(name in model.labels for model in models) and name in available]
    if not names:
        raise InputMissing(
            f"the cohort has no {'label' if classify else 'mask'} that the models predict",
            where="--cohort",
            expected=", ".join(models[0].labels),
            found=", ".join(available) or "none",
            fix="name a cohort with labels (and masks, for a model with a segmenter)",
        )
    return names
