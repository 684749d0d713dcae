"""Calibration after training: temperatures, thresholds and scores of the validation images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.errors import InputMissing
from medprior.finetune.assembly import Network
from medprior.finetune.calibration import (
    compute_probabilities,
    compute_youden_threshold,
    fit_temperature,
    has_both_classes,
)
from medprior.finetune.data.dataset import LabelledImages
from medprior.finetune.data.views import PrepareWholeViews
from medprior.finetune.engine import build_loader
from medprior.finetune.metrics import compute_dice_per_image, compute_known_mean, compute_label_aucs
from medprior.finetune.settings import FinetuneSettings
from medprior.metrics.sensitivity import compute_sensitivity_specificity

CANDIDATE_THRESHOLDS = np.linspace(0.1, 0.9, 17)


def check_validation_labels(data: LabelledImages) -> None:
    """Check that an AUC can be computed on the validation split.

    Raises:
        InputMissing: no label has both a positive and a negative image.
    """
    if data.targets.ndim != 2 or any(has_both_classes(column) for column in data.targets.T):
        return
    raise InputMissing(
        "no label has both positive and negative validation images",
        where=data.cohort.path.name,
        expected="a 0 and a 1 in the val split for at least one label",
        found=f"{len(data)} images, {int(np.nansum(data.targets))} positive",
        fix="name other labels, or ingest with another split seed",
    )


@torch.inference_mode()
def predict_batches(
    network: Network, data: LabelledImages, settings: FinetuneSettings, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of whole views without augmentation, batch by batch."""
    assert settings.size is not None
    views = PrepareWholeViews(settings.size)
    network.eval()
    for batch in build_loader(data, settings):
        images, target = views(batch, device)
        yield network(images).float(), target


def calibrate_labels(
    network: Network, data: LabelledImages, settings: FinetuneSettings, device: torch.device
) -> dict[str, Any]:
    """Temperature (Guo et al. 2017) and Youden's threshold of every label, its AUC, and its rates there."""
    pairs = list(predict_batches(network, data, settings, device))
    logits = torch.cat([pred for pred, _ in pairs]).cpu().numpy()
    truth = torch.cat([label for _, label in pairs]).cpu().numpy()
    temperatures = np.array([fit_temperature(z, y) for z, y in zip(logits.T, truth.T, strict=True)])
    probabilities = compute_probabilities(logits, temperatures)
    thresholds = [compute_youden_threshold(p, y) for p, y in zip(probabilities.T, truth.T, strict=True)]
    aucs = compute_label_aucs(logits, truth)
    patients = np.arange(len(truth), dtype=np.intp)  # intervals, which would need them, are not used
    rates = [
        [rate.value for rate in compute_sensitivity_specificity(y, p, threshold, patients)]
        for y, p, threshold in zip(truth.T, probabilities.T, thresholds, strict=True)
    ]
    return {
        "threshold": dict(zip(data.names, thresholds, strict=True)),
        "calibration": {"temperature": dict(zip(data.names, temperatures.tolist(), strict=True))},
        "operating_point": {
            kind: {name: convert_nan_to_none(value) for name, value in zip(data.names, values, strict=True)}
            for kind, values in zip(("sensitivity", "specificity"), zip(*rates, strict=True), strict=True)
        },
        "validation": {
            "mean_auc": compute_known_mean(aucs),
            "auc": {name: convert_nan_to_none(value) for name, value in zip(data.names, aucs, strict=True)},
            "images": len(data),
            "positive": count_true_by_name(data.names, truth == 1),
            "negative": count_true_by_name(data.names, truth == 0),
        },
    }


def calibrate_structures(
    network: Network, data: LabelledImages, settings: FinetuneSettings, device: torch.device
) -> dict[str, Any]:
    """The threshold with the best mean Dice of every structure; temperatures stay 1.

    Without a validation mask thresholds stay at one half, and the scores are of the training images.
    """
    candidates = np.array([0.5]) if settings.has_few_masks else CANDIDATE_THRESHOLDS
    thresholds = torch.from_numpy(candidates).float()
    rows = [
        compute_dice_per_image(pred.sigmoid(), label, thresholds).cpu().numpy()
        for pred, label in predict_batches(network, data, settings, device)
    ]
    dice = np.concatenate(rows).astype(np.float64)
    means = np.array([[compute_known_mean(cell) for cell in structure.T] for structure in dice.swapaxes(0, 1)])
    middle = len(candidates) // 2
    best = [int(np.nanargmax(row)) if not np.isnan(row).all() else middle for row in means]
    return {
        "threshold": {n: round(float(candidates[b]), 4) for n, b in zip(data.names, best, strict=True)},
        "calibration": {"temperature": dict.fromkeys(data.names, 1.0)},
        "validation": {
            "mean_dice": compute_known_mean(means[:, middle]),
            "dice": {n: convert_nan_to_none(m[b]) for n, m, b in zip(data.names, means, best, strict=True)},
            "on": describe_validation_data(settings),
            "images": len(data),
            "known": count_true_by_name(data.names, data.known),
        },
    }


def describe_validation_data(settings: FinetuneSettings) -> str:
    """The images that `validation` in `config.json` is measured on."""
    if settings.has_few_masks:
        return "the training images: no other mask is known"
    return "pseudo-masks of the prior" if settings.targets == "prior" else "masks of val"


def count_true_by_name(names: tuple[str, ...], true: NDArray[np.bool_]) -> dict[str, int]:
    """Number of true values in each column of bool [n, C]."""
    return dict(zip(names, true.sum(axis=0).tolist(), strict=True))


def convert_nan_to_none(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return None if np.isnan(value) else float(value)
