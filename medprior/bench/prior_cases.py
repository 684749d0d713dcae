"""Cases of the prior bench: every method, other examples, and distorted masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from medprior.annotate import Annotation, annotate_from_cohort
from medprior.annotate.typicality import SQUARE_SIZE_PX, find_typical_annotated, rank_by_typicality
from medprior.bench.prior_itk import transfer_with_itk
from medprior.cohort import Cohort
from medprior.priors.build import build_from_statistics, build_transfer, find_annotated_images
from medprior.priors.consensus import add_intermediate_examples
from medprior.priors.doubtful_images import suggest_next_examples
from medprior.priors.prior import SpatialPrior
from medprior.priors.refinement import refine_prior
from medprior.priors.registration import Example
from medprior.priors.settings import PriorSettings
from medprior.priors.soft_maps import build_static_maps, soften_maps
from medprior.priors.transfer import LabelTransfer
from medprior.provenance import sha256_file

METHODS = (
    "statistics", "statistics, fitted", "static", "affine", "deformable", "consensus", "few",
    "refined", "itk_bspline",
)  # fmt: skip
FEW_EXAMPLES = 5
BACKBONE_WEIGHTS_FILE = "backbone.safetensors"
FitPrior = Callable[[Cohort], SpatialPrior]


@dataclass(frozen=True)
class BenchCase:
    """One row of the bench.

    Attributes:
        name: of the row.
        prepare: runs once and returns the function that fits each part of a cohort.
        batch: images per part.
        digest: of further inputs outside the cohort; '' without any.
    """

    name: str
    prepare: Callable[[], FitPrior]
    batch: int = 8
    digest: str = ""


def build_method_cases(
    cohort: Cohort, settings: PriorSettings, names: tuple[str, ...], backbone: Path | None
) -> Iterator[BenchCase]:
    """Cases of all `names` from the most typical training image; `refined` needs a backbone."""
    first = annotate_from_cohort(cohort, find_typical_annotated(cohort))
    for name in names:
        if name == "refined":
            if backbone is not None:
                yield build_refine_case(cohort, first, settings, backbone)
        elif name.startswith("statistics"):
            yield BenchCase(name, partial(fit_by_statistics, cohort, settings, name))
        elif name == "few":
            yield BenchCase(
                name,
                lambda: fit_from_examples(cohort, choose_few_examples(cohort, first, settings), "deformable", settings),
            )
        else:
            yield BenchCase(name, partial(fit_from_examples, cohort, [first], name, settings))


def build_refine_case(cohort: Cohort, first: Annotation, settings: PriorSettings, backbone: Path) -> BenchCase:
    """`refined`, in larger batches because each opens the backbone."""

    def prepare() -> FitPrior:
        """Register, then refine."""
        fit = fit_from_examples(cohort, [first], "deformable", settings)
        return lambda part: refine_prior(fit(part), part, backbone, settings.refine)

    return BenchCase("refined", prepare, 64, sha256_file(backbone / BACKBONE_WEIGHTS_FILE))


def choose_few_examples(cohort: Cohort, first: Annotation, settings: PriorSettings) -> list[Annotation]:
    """`first` and four more training images that `suggest_next_examples` offers one by one.

    Only images with masks are offered; the masks themselves are not used.
    """
    train = select_with_masks(cohort.split("train"), first.structures)
    annotations, no_doubts = [first], pd.DataFrame({"image_id": [], "doubt": []})
    while len(annotations) < FEW_EXAMPLES:
        pictures = np.stack([annotation.square(SQUARE_SIZE_PX) for annotation in annotations])
        offers = suggest_next_examples(train, pictures, no_doubts, settings.seed)
        if not offers:
            break
        annotations.append(annotate_from_cohort(cohort, offers[0]["image_id"]))
    return annotations


def select_with_masks(cohort: Cohort, structures: tuple[str, ...]) -> Cohort:
    """The images with masks of all these structures."""
    columns = [f"mask_{name}" for name in structures]
    return cohort.select(cohort.manifest.image_id[cohort.manifest[columns].notna().all(axis=1)].tolist())


def fit_by_statistics(cohort: Cohort, settings: PriorSettings, name: str) -> FitPrior:
    """Without labels: the same maps for all, or fitted to each image."""
    prior, transfer = build_from_statistics(cohort, settings)
    if name == "statistics" or transfer is None:
        return lambda part: prior
    return partial(fit_to_images, prior, transfer)


def fit_to_images(common: SpatialPrior, transfer: LabelTransfer, part: Cohort) -> SpatialPrior:
    """`common` with maps of each image of `part` by `transfer`."""
    per_image, records = transfer(np.asarray(part.squares(transfer.settings.registration.size)))
    table = pd.DataFrame(records).assign(image_id=part.image_ids)
    return replace(common, per_image=per_image, table=table)


def fit_from_examples(cohort: Cohort, annotations: list[Annotation], method: str, settings: PriorSettings) -> FitPrior:
    """From annotations by a method, or by the peer `itk_bspline`."""
    maps = build_static_maps(annotations[0], settings.size, settings.softness)
    excluded = frozenset().union(*(find_annotated_images(cohort, annotation) for annotation in annotations))
    common = SpatialPrior(maps, annotations[0].structures, method, "annotation", excluded)
    if method == "static":
        return lambda part: common
    if method == "itk_bspline":
        size = settings.registration.size
        example = Example(annotations[0].square(size), annotations[0].coverage(size))
        return lambda part: fit_by_itk(common, part, example, settings)
    transfer = build_transfer(annotations, settings.model_copy(update={"method": method}))
    if method == "consensus":
        transfer, _ = add_intermediate_examples(cohort, transfer)
    return partial(fit_to_images, common, transfer)


def fit_by_itk(common: SpatialPrior, part: Cohort, example: Example, settings: PriorSettings) -> SpatialPrior:
    """Maps by SimpleITK alone, softened by `soften_maps`."""
    squares = part.squares(settings.registration.size)
    soft = [soften_maps(transfer_with_itk(s, example), settings.softness) for s in squares]
    per_image = np.rint(np.stack(soft) * 255).astype(np.uint8)
    table = pd.DataFrame({"image_id": part.image_ids, "trust": 1.0})
    return replace(common, per_image=per_image, table=table)


def distort_annotation(annotation: Annotation, distortion: str) -> Annotation:
    """The masks `eroded`, `dilated` or `shifted` by 5 % of the image's side."""
    step = round(0.05 * max(annotation.image.shape))
    disk = np.hypot(*np.mgrid[-step : step + 1, -step : step + 1]) <= step
    change: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {
        "eroded": lambda m: ndimage.binary_erosion(m, disk),
        "dilated": lambda m: ndimage.binary_dilation(m, disk),
        "shifted": lambda m: np.asarray(ndimage.shift(m, (step, step), order=0)),
    }
    return replace(annotation, masks={n: change[distortion](m) for n, m in annotation.masks.items()})


def build_robustness_cases(cohort: Cohort, settings: PriorSettings, examples: int = 10) -> Iterator[BenchCase]:
    """The deformable prior from other images, typical to untypical, then from distorted masks."""
    first = annotate_from_cohort(cohort, find_typical_annotated(cohort))
    train = select_with_masks(cohort.split("train"), first.structures)
    order = [train.image_ids[int(row)] for row in rank_by_typicality(train)]
    step = max(1, len(order) // examples)
    for n, image_id in enumerate(order[: examples * step : step], start=1):
        annotations = [annotate_from_cohort(cohort, image_id)]
        yield BenchCase(f"example {n}", partial(fit_from_examples, cohort, annotations, "deformable", settings))
    for distortion in ("eroded", "dilated", "shifted"):
        annotations = [distort_annotation(first, distortion)]
        yield BenchCase(distortion, partial(fit_from_examples, cohort, annotations, "deformable", settings))
