"""Datasets of images with labels or masks for the MONAI engines."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medprior.finetune.data.targets import resolve_uncertain_labels
from medprior.finetune.settings import FinetuneSettings

if TYPE_CHECKING:
    from medprior.cohort import Cohort
    from medprior.finetune.span import PriorTargets


class LabelledSample(TypedDict):
    """One image of a batch.

    Shape:
        image: float32 [1, s, s] in [0, 1], the unit square. aspect: float64 [].
        label: float32 [C], NaN unknown; or uint8 [K, s, s], coverage in 1/255.
        known: bool [K] (segmentation) or [C]. index: int64 [], position in the cohort.
        weight: float32 [] in [0, 1], weight of the image in the loss, where images differ in it.
        maps: float32 [K, M, M] in [0, 1] and trust: float32 [], where heads follow a prior.
    """

    image: Tensor
    aspect: Tensor
    label: Tensor
    known: Tensor
    index: Tensor
    weight: NotRequired[Tensor]
    maps: NotRequired[Tensor]
    trust: NotRequired[Tensor]


class LabelledImages(Dataset[LabelledSample]):
    """Unit squares of a cohort with labels or masks.

    Args:
        cohort: the images.
        targets: float32 [n, C] labels with NaN unknown, or uint8 [n, K, s, s] coverage.
        known: bool [n, C] or [n, K].
        names: of the labels or structures.
        source_size: side of the squares.
        weight: float [n] in [0, 1], weight of each image in the loss; None for 1.

    Attributes:
        prior_targets: targets of the attention heads, or None.
    """

    def __init__(
        self,
        cohort: Cohort,
        targets: NDArray[np.float32] | NDArray[np.uint8],
        known: NDArray[np.bool_],
        names: tuple[str, ...],
        source_size: int,
        weight: NDArray[np.float64] | None = None,
    ) -> None:
        self.cohort = cohort
        self.names = names
        self.known = known
        self.targets = targets
        self.weight = weight
        self.prior_targets: PriorTargets | None = None
        self._squares = cohort.open_squares(source_size)
        self._aspect = cohort.aspect

    def __len__(self) -> int:
        return len(self.cohort)

    def __getitem__(self, index: int) -> LabelledSample:
        sample: LabelledSample = {
            "image": torch.from_numpy(np.array(self._squares[index])[None]),
            "aspect": torch.tensor(self._aspect[index], dtype=torch.float64),
            "label": torch.from_numpy(np.array(self.targets[index])),
            "known": torch.from_numpy(np.array(self.known[index])),
            "index": torch.tensor(index),
        }
        if self.weight is not None:
            sample["weight"] = torch.tensor(self.weight[index], dtype=torch.float32)
        if self.prior_targets is not None:
            sample |= self.prior_targets.load_targets(self.cohort.image_ids[index])  # type: ignore[typeddict-item]
        return sample


def build_label_dataset(cohort: Cohort, names: tuple[str, ...], settings: FinetuneSettings) -> LabelledImages:
    """Images with at least one known label."""
    labels = resolve_uncertain_labels(cohort.labels(names), settings.uncertain)
    labelled = ~np.isnan(labels).all(axis=1)
    part = cohort.select([cohort.image_ids[i] for i in np.flatnonzero(labelled)])
    labels = labels[labelled]
    return LabelledImages(part, labels, ~np.isnan(labels), names, require_source_size(settings))


def build_mask_dataset(cohort: Cohort, names: tuple[str, ...], settings: FinetuneSettings) -> LabelledImages:
    """Images with a mask of at least one structure."""
    size = require_source_size(settings)
    pairs = [cohort.mask_squares(name, size) for name in names]
    known = np.stack([known for _, known in pairs], axis=1)
    annotated = known.any(axis=1)
    part = cohort.select([cohort.image_ids[i] for i in np.flatnonzero(annotated)])
    coverage = np.empty((len(part), len(names), size, size), dtype=np.uint8)
    for number, (squares, _) in enumerate(pairs):
        coverage[:, number] = np.rint(squares[annotated] * 255)
    return LabelledImages(part, coverage, known[annotated], names, size)


def build_completed_mask_dataset(
    cohort: Cohort,
    names: tuple[str, ...],
    coverage: NDArray[np.uint8],
    annotated_ids: Collection[str],
    weight: NDArray[np.float64],
) -> LabelledImages:
    """Images with pseudo-masks, in which annotated images have the cohort's masks.

    Args:
        cohort: the images.
        names: structures to learn.
        coverage: uint8 [n, K, s, s], the pseudo-masks; those of annotated images are replaced in place.
        annotated_ids: images whose masks may be used; a structure without a mask keeps its pseudo-mask.
        weight: float [n] in [0, 1], weight of each image in the loss.
    """
    size = coverage.shape[-1]
    rows = [row for row, image_id in enumerate(cohort.image_ids) if image_id in annotated_ids]
    if rows:
        annotated = cohort.select([cohort.image_ids[row] for row in rows])
        for number, name in enumerate(names):
            squares, known = annotated.mask_squares(name, size)
            for row in np.flatnonzero(known):
                coverage[rows[row], number] = np.rint(squares[row] * 255)
    known = np.ones((len(cohort), len(names)), dtype=bool)
    return LabelledImages(cohort, coverage, known, names, size, weight=weight)


def require_source_size(settings: FinetuneSettings) -> int:
    """Side of the squares of resolved `settings`."""
    assert settings.source_size is not None
    return settings.source_size
