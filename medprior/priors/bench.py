"""`medprior bench prior`: every way to a prior, judged on masks it has not seen, and timed.

One typical training image is the example; Dice and pixel-AP are on the test split. Without a
cohort it runs on phantoms made for it; `python -m medprior.priors.bench COHORT` takes any cohort
with masks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.annotate import Annotation, from_cohort
from medprior.annotate.typical import most_typical
from medprior.cohort import Cohort, CohortWriter
from medprior.phantom import render
from medprior.priors.building import RUNGS, from_statistics, twins
from medprior.priors.consensus import stepping_stones
from medprior.priors.itk_peer import itk_transferred
from medprior.priors.prior import SpatialPrior
from medprior.priors.quality import quality
from medprior.priors.registered import Example
from medprior.priors.settings import PriorSettings
from medprior.priors.soft import softened, static_maps
from medprior.priors.transfer import Transfer

METHODS = ("statistics", "static", "affine", "deformable", "consensus", "itk_bspline")
Row = tuple[str, float, dict[str, dict[str, float]]]


def phantom_cohort(path: Path, patients: int = 80, size: int = 256) -> Cohort:
    """A cohort of rendered phantoms with lungs and heart drawn."""
    with CohortWriter(path, store_size=size) as writer:
        for seed in range(patients):
            image = render(seed, size=size)
            masks = {name: image.masks[name] for name in ("left_lung", "right_lung", "heart")}
            writer.add(
                image_id=f"p{seed:04d}", pixels=image.pixels, patient_id=f"{seed}", masks=masks
            )
        writer.finish(fractions=(0.5, 0.1, 0.4))
    return Cohort.open(path)


def measured(cohort: Cohort, images: int, methods: tuple[str, ...] = METHODS) -> Iterator[Row]:
    """Method, CPU seconds an image and quality on at most `images` test images, on one core."""
    settings = PriorSettings()
    annotation = from_cohort(cohort, most_typical(cohort))
    test = cohort.split("test").take(images)
    for method in methods:
        started = time.process_time()
        prior = prior_of(cohort, test, annotation, method, settings)
        seconds = (time.process_time() - started) / len(test)
        yield method, seconds, quality(prior, test, limit=images)


def prior_of(
    cohort: Cohort, test: Cohort, annotation: Annotation, method: str, settings: PriorSettings
) -> SpatialPrior:
    """The prior of one method for the test images, in memory."""
    if method == "statistics":
        return from_statistics(cohort, settings)
    maps = static_maps(annotation, settings.size, settings.softness)
    names, excluded = annotation.structures, twins(cohort, annotation)
    if method == "static":
        return SpatialPrior(maps, names, method, "annotation", excluded)
    size = settings.registration.size
    examples: tuple[Example, ...] = (Example(annotation.square(size), annotation.coverage(size)),)
    if method == "itk_bspline":
        return peer_prior(maps, annotation, test, examples[0], settings)
    if method == "consensus":
        examples, _ = stepping_stones(cohort, examples[0], settings)
    transfer = Transfer(examples, RUNGS[method], settings)
    per_image, records = transfer(np.asarray(test.squares(size)))
    table = pd.DataFrame(records).assign(image_id=test.image_ids)
    return SpatialPrior(maps, names, method, "annotation", excluded, per_image, table)


def peer_prior(
    maps: NDArray[np.float32],
    annotation: Annotation,
    test: Cohort,
    example: Example,
    settings: PriorSettings,
) -> SpatialPrior:
    """Maps by SimpleITK alone, softened as ours are."""
    squares = test.squares(settings.registration.size)
    soft = [softened(itk_transferred(s, example), settings.softness) for s in squares]
    per_image = np.rint(np.stack(soft) * 255).astype(np.uint8)
    table = pd.DataFrame({"image_id": test.image_ids, "trust": 1.0})
    names = annotation.structures
    return SpatialPrior(maps, names, "itk_bspline", "annotation", frozenset(), per_image, table)


def report(cohort: Cohort, images: int) -> None:
    """Print one line per method and structure."""
    print(f"{'method':<11} {'s/image':>7}  {'structure':<10} {'Dice':>6} {'5 %':>6} {'AP':>6}    n")
    for method, seconds, scores in measured(cohort, images):
        for name, found in scores.items():
            print(
                f"{method:<11} {seconds:7.3f}  {name:<10} {found['dice']:6.3f} "
                f"{found['dice_p5']:6.3f} {found['pixel_ap']:6.3f} {found['n']:4.0f}",
                flush=True,
            )


def main(cohort: Path | None = None, images: int = 100) -> None:
    """Bench on a cohort, or on 80 phantoms made in a temporary folder."""
    if cohort is not None:
        report(Cohort.open(cohort), images)
        return
    with tempfile.TemporaryDirectory() as folder:
        report(phantom_cohort(Path(folder) / "cohort"), images)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    main(arguments.cohort, arguments.images)
