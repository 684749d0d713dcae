"""Pseudo-masks from trained segmenters: self-training in the manner of Noisy Student (Xie et al. 2020).

The teachers see each image plainly, the student sees it augmented. Masks of the cohort that may be used stay. The
weight of another image is the agreement of the teachers' masks under small changes of the view (our choice): 0 below
`MIN_AGREEMENT`, 1 from `FULL_AGREEMENT` on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing
from medprior.finetune.data.dataset import LabelledImages, build_completed_mask_dataset, require_source_size
from medprior.finetune.data.few_masks import select_annotated_images, select_mask_images
from medprior.finetune.data.targets import choose_structures, select_patient_share
from medprior.finetune.image_grid import keep_largest_components
from medprior.finetune.model import Model, load_finetuned_model
from medprior.finetune.settings import FinetuneSettings
from medprior.geometry import Views, create_whole_image_views
from medprior.metrics.overlap import compute_dice
from medprior.networks.views import crop_views, resample_maps_to_source

VIEW_CHANGES = ((1.0, 0.0, 0.0), (0.92, 0.03, 0.0), (1.08, -0.03, 0.0), (1.0, 0.0, 0.04), (1.0, 0.0, -0.04))
"""Scale, shift down and shift right of the views whose masks are compared; shifts as shares of the side."""
MIN_AGREEMENT, FULL_AGREEMENT = 0.85, 0.95
CHUNK_IMAGES = 16


@dataclass(frozen=True)
class TeacherMasks:
    """Masks that segmenters agree on.

    Shape:
        coverage: uint8 [n, K, s, s], 0 or 255, on the unit squares.
        weight: float64 [n] in [0, 1].
    """

    coverage: NDArray[np.uint8]
    weight: NDArray[np.float64]


def load_teachers(folders: Sequence[Path], names: Sequence[str] | None) -> list[Model]:
    """Load the segmenters of `names`, by default of the structures of the first one.

    Raises:
        ConfigError: a model that does not segment one of the structures.
    """
    models = [load_finetuned_model(folder) for folder in folders]
    names = models[0].structures if names is None else names
    for folder, model in zip(folders, models, strict=True):
        missing = [name for name in names if name not in model.structures]
        if missing:
            raise ConfigError(
                f"the teacher has no output for {', '.join(missing)}", where=f"--teacher {folder.name}",
                expected=", ".join(names), found=", ".join(model.structures or model.labels),
                fix="name a segmenter of these structures",
            )  # fmt: skip
    return models


def change_views(views: Views, scale: float, down: float, right: float) -> Views:
    """The views, scaled about their centres and shifted by shares of their sides."""
    return views.zoom(scale, np.array([down, right]))


@torch.inference_mode()
def predict_changed_views(models: Sequence[Model], cohort: Cohort, names: Sequence[str]) -> Iterator[Tensor]:
    """Probabilities of every teacher under every change of the view, a chunk of images at a time.

    Yields:
        [P, B, K, s, s] in [0, 1] on the unit squares, P = teachers x changes, s = the first teacher's source size.
    """
    size = models[0].source_size
    for start in range(0, len(cohort), CHUNK_IMAGES):
        part = cohort.select(cohort.image_ids[start : start + CHUNK_IMAGES])
        passes = []
        for model in models:
            rows = [model.structures.index(name) for name in names]
            squares = torch.from_numpy(np.array(part.squares(model.source_size), dtype=np.float32))[:, None]
            squares = squares.to(model.device)
            index = torch.arange(len(squares), device=model.device)
            plain = create_whole_image_views(part.aspect, (model.size, model.size))
            for change in VIEW_CHANGES:
                views = change_views(plain, *change)
                images = crop_views(squares, views, model.size, index)
                maps = model.network(images).float().sigmoid()[:, rows]
                passes.append(resample_maps_to_source(maps, views, size).cpu())
        yield torch.stack(passes)


def predict_teacher_masks(models: Sequence[Model], cohort: Cohort, names: Sequence[str], size: int) -> TeacherMasks:
    """Masks of a cohort: the mean of all passes at 0.5, with the agreement of the passes as weight.

    Args:
        models: the teachers.
        cohort: the images.
        names: the structures.
        size: side of the masks, pixels.
    """
    coverage = np.empty((len(cohort), len(names), size, size), dtype=np.uint8)
    weight = np.empty(len(cohort))
    row = 0
    for passes in predict_changed_views(models, cohort, names):
        mean = passes.mean(dim=0)
        resized = torch.nn.functional.interpolate(mean, size=(size, size), mode="bilinear", antialias=True)
        masks = mean.numpy() >= 0.5
        agreement = np.nan_to_num(compute_dice(passes.numpy() >= 0.5, masks[None]), nan=0.0)
        for image, dice in zip(resized.numpy(), agreement.mean(axis=0).min(axis=1), strict=True):
            for number, name in enumerate(names):
                coverage[row, number] = np.where(keep_largest_components(image[number] >= 0.5, name), 255, 0)
            weight[row] = np.clip((dice - MIN_AGREEMENT) / (FULL_AGREEMENT - MIN_AGREEMENT), 0, 1)
            row += 1
    return TeacherMasks(coverage, weight)


def build_taught_dataset(
    cohort: Cohort, names: tuple[str, ...], settings: FinetuneSettings, models: Sequence[Model],
    annotated_ids: frozenset[str],
) -> LabelledImages:  # fmt: skip
    """Images with the teachers' masks, weighted by agreement, and images with the cohort's masks; others are dropped.

    Args:
        cohort: the images.
        names: structures to learn.
        settings: resolved.
        models: the teachers.
        annotated_ids: images whose masks are used; a structure without a mask takes the teachers'.
    """
    taught = predict_teacher_masks(models, cohort, names, require_source_size(settings))
    is_annotated = np.array([image_id in annotated_ids for image_id in cohort.image_ids])
    weight = np.where(is_annotated, 1.0, taught.weight)
    keep = np.flatnonzero(weight > 0)
    part = cohort.select([cohort.image_ids[i] for i in keep])
    return build_completed_mask_dataset(part, names, taught.coverage[keep], annotated_ids, weight[keep])


def build_taught_splits(
    cohort: Cohort, settings: FinetuneSettings, folders: Sequence[Path]
) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images of self-training.

    All masks of the cohort may be used, also for validation, unless `masks` or `mask_images` limit them; validation
    then uses images on which the teachers agree, and no mask of the cohort.

    Raises:
        InputMissing: no teacher, or none agrees with itself on an image.
    """
    if not folders:
        raise InputMissing(
            "targets=teacher needs trained segmenters", where="--teacher", expected="folders of medprior finetune",
            fix="train a segmenter first",
        )  # fmt: skip
    requested = tuple(settings.structures) if settings.structures else None
    if requested is None and not settings.limits_masks:
        requested = choose_structures(cohort, None)
    models = load_teachers(folders, requested)
    names = requested or models[0].structures
    train, val = select_patient_share(cohort.split("train"), settings.fraction, settings.seed), cohort.split("val")
    known: frozenset[str] = frozenset()
    if settings.limits_masks:
        annotated = select_mask_images(train, names, settings)
    else:
        annotated, val = select_annotated_images(train, names), select_annotated_images(val, names)
        known = frozenset(val.image_ids)
    datasets = (
        build_taught_dataset(train, names, settings, models, frozenset(annotated.image_ids)),
        build_taught_dataset(val, names, settings, models, known),
    )
    for data, split in zip(datasets, ("train", "val"), strict=True):
        if not len(data):
            raise InputMissing(
                f"the teachers agree on no image of split {split!r}", where="--teacher",
                fix="train better teachers, or more of them",
            )  # fmt: skip
    return datasets
