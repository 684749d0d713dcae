"""Validation metrics of fine-tuning: mean AUC and mean Dice over known labels and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.utils.dist import evenly_divisible_all_gather
from numpy.typing import NDArray
from torch import Tensor

from medprior.metrics.auc import compute_auc
from medprior.metrics.overlap import compute_dice_from_counts

Array = NDArray[np.float64]


def compute_known_mean(values: NDArray[Any]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def compute_label_aucs(scores: NDArray[Any], truth: NDArray[Any]) -> Array:
    """Area under the ROC curve of each label, over images whose label is exactly 0 or 1.

    Shape:
        scores, truth: [n, C]; the result is float64 [C], NaN for a label with one class only.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores of an AUC are not finite")
    return np.array([compute_auc(label, score) for label, score in zip(truth.T, scores.T, strict=True)])


def compute_dice_per_image(probability: Tensor, targets: Tensor, thresholds: Tensor) -> Tensor:
    """Dice of every image and structure at every threshold.

    Args:
        probability: [B, K, S, S] in [0, 1].
        targets: [B, K, S, S] coverage; NaN where the structure is unknown.
        thresholds: [T] or [K, T].

    Returns:
        float32 [B, K, T]; NaN where unknown, or where truth and prediction are both empty.
    """
    unknown = torch.isnan(targets).flatten(2).any(-1)
    truth = (targets >= 0.5).flatten(2)
    cut = thresholds.to(probability).expand(probability.shape[1], -1)
    counts = []
    for column in cut.T:
        predicted = (probability >= column[:, None, None]).flatten(2)
        counts.append(torch.stack([(predicted & truth).sum(-1), predicted.sum(-1), truth.sum(-1)]))
    dice = compute_dice_from_counts(*torch.stack(counts, dim=-1).cpu().numpy())
    dice[unknown.cpu().numpy()] = np.nan
    return torch.from_numpy(dice).float().to(targets.device)


class WholeEpochMetric(Metric):
    """Collects rows of every batch, from all processes, and reduces them at the end of the epoch.

    `reduce` handles NaN rows, so that one absent class does not make the key metric NaN.

    Args:
        rows: maps prediction and label of a batch to tensors with the batch as first axis.
        reduce: maps all rows to one number.
    """

    def __init__(
        self,
        rows: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
        reduce: Callable[..., float],
    ) -> None:
        self.rows = rows
        self.reduce = reduce
        super().__init__(output_transform=lambda output: (output["pred"], output["label"]))

    def reset(self) -> None:
        """Drop all rows."""
        self._rows: list[tuple[Tensor, ...]] = []

    def update(self, output: tuple[Tensor, Tensor]) -> None:
        """Store the rows of one batch."""
        pred, label = output
        self._rows.append(tuple(row.detach().float() for row in self.rows(pred, label)))

    def compute(self) -> float:
        """The metric over all rows."""
        columns = [torch.cat(parts) for parts in zip(*self._rows, strict=True)]
        gathered = [evenly_divisible_all_gather(column, concat=True) for column in columns]
        return self.reduce(*(column.cpu().numpy() for column in gathered))


def build_mean_auc_metric() -> WholeEpochMetric:
    """Mean AUC over the labels that have both classes; expects logits [B, C] and labels."""
    return WholeEpochMetric(
        lambda logits, label: (logits, label),
        lambda logits, truth: compute_known_mean(compute_label_aucs(logits, truth)),
    )


def build_mean_dice_metric() -> WholeEpochMetric:
    """Mean over structures of the mean Dice at 0.5; expects logits and targets [B, K, S, S]."""
    half = torch.tensor([0.5])
    return WholeEpochMetric(
        lambda logits, label: (compute_dice_per_image(logits.sigmoid(), label, half)[..., 0],),
        lambda pairs: compute_known_mean(np.array([compute_known_mean(column) for column in pairs.T])),
    )
