"""What one model is worth on the gate's images: quality, calibration, and answers that are none."""

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
    """One model on the gate's images.

    Attributes:
        key: name of `quality` in `metrics.json`.
        quality: mAUC or mean Dice; None where an output was not finite.
        ece: calibration error, None for segmentation.
        broken: images for which an output of the network was not finite.
    """

    key: str
    quality: Estimate | None
    ece: Estimate | None
    broken: int

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        named = {self.key: self.quality, "classification.ece": self.ece}
        found = {key: estimate.record() for key, estimate in named.items() if estimate is not None}
        return {**found, "images_without_finite_output": self.broken}


@contextmanager
def count_nonfinite_images(model: Model) -> Iterator[list[int]]:
    """Count, while the block runs, the images whose raw output is not finite everywhere."""
    broken: list[int] = []

    def look(module: Any, inputs: Any, output: torch.Tensor) -> None:
        """Count one batch."""
        broken.append(int((~torch.isfinite(output).flatten(1).all(dim=1)).sum()))

    handle = model.network.register_forward_hook(look)
    try:
        yield broken
    finally:
        handle.remove()


def score_model(study: EvaluationStudy, model: Model, names: Sequence[str]) -> GateScores:
    """Judge `model` on the study's images by the labels or structures `names`."""
    model.network.to(select_device(study.settings.device))
    classify = model.task == "classification"
    found = _score_findings(study, model, names) if classify else _score_masks(study, model, names)
    model.network.to("cpu")
    return found


def _score_findings(study: EvaluationStudy, model: Model, labels: Sequence[str]) -> GateScores:
    key = QUALITY_KEYS["classification"]
    order = [model.labels.index(label) for label in labels]
    with count_nonfinite_images(model) as broken:
        probability = model.predict_cohort(study.part, study.settings.batch)[:, order]
    if sum(broken) or not np.isfinite(probability).all():
        return GateScores(key, None, None, max(sum(broken), 1))
    truth = validate_binary_labels(study.part.labels(labels), labels)
    thresholds = model.threshold[order]
    bins = study.settings.ece_bins
    found = estimate_classification(truth, probability, labels, thresholds, study.draws, bins)
    return GateScores(key, found[key], found["classification.ece"], 0)


def _score_masks(study: EvaluationStudy, model: Model, structures: Sequence[str]) -> GateScores:
    key = QUALITY_KEYS["segmentation"]
    with count_nonfinite_images(model) as broken:
        scores, _ = score_segmentation(study.part, model)
    if sum(broken):
        return GateScores(key, None, None, sum(broken))
    found = estimate_segmentation({name: scores[name] for name in structures}, study.draws)
    return GateScores(key, found.get(key), None, 0)


def find_shared_labels(study: EvaluationStudy, models: Sequence[Model]) -> list[str]:
    """Labels or structures that every model answers and the cohort knows.

    Raises:
        InputMissing: there are none, so that nothing could be compared.
    """
    classify = models[0].task == "classification"
    there = study.cohort.label_names if classify else study.part.structures
    names = [name for name in models[0].labels if all(name in m.labels for m in models) and name in there]
    if not names:
        raise InputMissing(
            f"the cohort has no {'label' if classify else 'mask'} that the models answer",
            where="--cohort",
            expected=", ".join(models[0].labels),
            found=", ".join(there) or "none",
            fix="name a cohort with labels (and masks, for a model with a segmenter)",
        )
    return names
