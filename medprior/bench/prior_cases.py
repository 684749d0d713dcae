"""What the prior's bench compares: every way to a prior, and worse or other examples."""

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
        prepared: does what is done once, then gives what is done for each part of a cohort.
        batch: images at a time.
        of: digest of what is not in the cohort but changes the result; '' for nothing.
    """

    name: str
    prepared: Callable[[], FitPrior]
    batch: int = 8
    of: str = ""


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
    """`refined`: in larger batches, because each of them opens the backbone."""

    def prepared() -> FitPrior:
        """Registration first."""
        fit = fit_from_examples(cohort, [first], "deformable", settings)
        return lambda part: refine_prior(fit(part), part, backbone, settings.refine)

    return BenchCase("refined", prepared, 64, sha256_file(backbone / BACKBONE_WEIGHTS_FILE))


def choose_few_examples(cohort: Cohort, first: Annotation, settings: PriorSettings) -> list[Annotation]:
    """`first` and four more training images, those `next_examples` asks for, one after another.

    Only images whose masks exist can be asked for; the masks themselves are not looked at.
    """
    train = select_with_masks(cohort.split("train"), first.structures)
    drawn, quiet = [first], pd.DataFrame({"image_id": [], "doubt": []})
    while len(drawn) < FEW_EXAMPLES:
        pictures = np.stack([annotation.square(SQUARE_SIZE_PX) for annotation in drawn])
        offers = suggest_next_examples(train, pictures, quiet, settings.seed)
        if not offers:
            break
        drawn.append(annotate_from_cohort(cohort, offers[0]["image_id"]))
    return drawn


def select_with_masks(cohort: Cohort, structures: tuple[str, ...]) -> Cohort:
    """The images that have all these structures drawn."""
    named = [f"mask_{name}" for name in structures]
    return cohort.select(cohort.manifest.image_id[cohort.manifest[named].notna().all(axis=1)].tolist())


def fit_by_statistics(cohort: Cohort, settings: PriorSettings, name: str) -> FitPrior:
    """No label at all: the same maps for all, or fitted to each image."""
    prior, transfer = build_from_statistics(cohort, settings)
    if name == "statistics" or transfer is None:
        return lambda part: prior
    carry = transfer

    def fit(part: Cohort) -> SpatialPrior:
        """Maps of each image."""
        per_image, records = carry(np.asarray(part.squares(settings.registration.size)))
        table = pd.DataFrame(records).assign(image_id=part.image_ids)
        return replace(prior, per_image=per_image, table=table)

    return fit


def fit_from_examples(cohort: Cohort, drawn: list[Annotation], method: str, settings: PriorSettings) -> FitPrior:
    """From drawings by a method, or by the peer `itk_bspline`."""
    maps = build_static_maps(drawn[0], settings.size, settings.softness)
    excluded = frozenset().union(*(find_annotated_images(cohort, annotation) for annotation in drawn))
    common = SpatialPrior(maps, drawn[0].structures, method, "annotation", excluded)
    size = settings.registration.size
    if method == "static":
        return lambda part: common
    if method == "itk_bspline":
        example = Example(drawn[0].square(size), drawn[0].coverage(size))
        return lambda part: fit_by_itk(common, part, example, settings)
    transfer = build_transfer(drawn, settings.model_copy(update={"method": method}))
    if method == "consensus":
        transfer, _ = add_intermediate_examples(cohort, transfer)

    def fit(part: Cohort) -> SpatialPrior:
        """Maps of each image."""
        per_image, records = transfer(np.asarray(part.squares(size)))
        table = pd.DataFrame(records).assign(image_id=part.image_ids)
        return replace(common, per_image=per_image, table=table)

    return fit


def fit_by_itk(common: SpatialPrior, part: Cohort, example: Example, settings: PriorSettings) -> SpatialPrior:
    """Maps by SimpleITK alone, softened as ours are."""
    squares = part.squares(settings.registration.size)
    soft = [soften_maps(transfer_with_itk(s, example), settings.softness) for s in squares]
    per_image = np.rint(np.stack(soft) * 255).astype(np.uint8)
    table = pd.DataFrame({"image_id": part.image_ids, "trust": 1.0})
    return replace(common, per_image=per_image, table=table)


def distort_annotation(annotation: Annotation, how: str) -> Annotation:
    """The drawing `eroded`, `dilated` or `shifted` by 5 % of the image's side."""
    step = round(0.05 * max(annotation.image.shape))
    disk = np.hypot(*np.mgrid[-step : step + 1, -step : step + 1]) <= step
    change: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {
        "eroded": lambda m: ndimage.binary_erosion(m, disk),
        "dilated": lambda m: ndimage.binary_dilation(m, disk),
        "shifted": lambda m: np.asarray(ndimage.shift(m, (step, step), order=0)),
    }
    return replace(annotation, masks={n: change[how](m) for n, m in annotation.masks.items()})


def build_sensitivity_cases(cohort: Cohort, settings: PriorSettings, examples: int = 10) -> Iterator[BenchCase]:
    """The deformable prior from other images, typical to untypical, then from worse drawings."""
    first = annotate_from_cohort(cohort, find_typical_annotated(cohort))
    there = select_with_masks(cohort.split("train"), first.structures)
    order = [there.image_ids[int(row)] for row in rank_by_typicality(there)]
    step = max(1, len(order) // examples)
    for n, image_id in enumerate(order[: examples * step : step], start=1):
        drawn = [annotate_from_cohort(cohort, image_id)]
        yield BenchCase(f"example {n}", partial(fit_from_examples, cohort, drawn, "deformable", settings))
    for how in ("eroded", "dilated", "shifted"):
        drawn = [distort_annotation(first, how)]
        yield BenchCase(how, partial(fit_from_examples, cohort, drawn, "deformable", settings))
