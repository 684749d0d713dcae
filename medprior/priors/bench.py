"""`medprior bench prior`: every way to a prior, judged on masks it has not seen, and timed.

One typical training image is the example, for `five` the ones that the prior itself asks for next;
Dice and pixel-AP are on the test split. Without a cohort it runs on phantoms made for it;
`python -m medprior.priors.bench COHORT` takes any cohort with masks; `--backbone` adds `refined`,
and `--sensitivity` changes the example instead: ten other images, and a drawing that is too small,
too large or off.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from medprior.annotate import Annotation, from_cohort
from medprior.annotate.typical import SIZE as NEXT_SIZE
from medprior.annotate.typical import most_typical, ranks
from medprior.cohort import Cohort, CohortWriter
from medprior.phantom import render
from medprior.priors.building import from_statistics, transferring, twins
from medprior.priors.consensus import stepping_stones
from medprior.priors.doubt import next_examples
from medprior.priors.itk_peer import itk_transferred
from medprior.priors.prior import SpatialPrior
from medprior.priors.quality import interval, scores
from medprior.priors.refined import refined
from medprior.priors.registered import Example
from medprior.priors.settings import PriorSettings
from medprior.priors.soft import softened, static_maps

METHODS = (
    "statistics", "statistics, fitted", "static", "affine", "deformable", "consensus", "few",
    "itk_bspline",
)  # fmt: skip
FEW = 5
Row = tuple[str, float, dict[str, pd.DataFrame]]


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


def measured(
    cohort: Cohort, images: int, backbone: Path | None = None, methods: tuple[str, ...] = METHODS
) -> Iterator[Row]:
    """Method, CPU seconds an image and scores on at most `images` test images, on one core."""
    settings = PriorSettings()
    annotation = from_cohort(cohort, most_typical(cohort))
    test = cohort.split("test").take(images)
    for method in (*methods, *(["refined"] if backbone else [])):
        drawn = [annotation]
        if method == "few":
            drawn = few(cohort, annotation, settings)
        started = time.process_time()
        prior = prior_of(cohort, test, drawn, method, settings, backbone)
        seconds = (time.process_time() - started) / len(test)
        yield method, seconds, scores(prior, test, limit=images)


def few(cohort: Cohort, first: Annotation, settings: PriorSettings) -> list[Annotation]:
    """`first` and four more training images, those `next_examples` asks for, one after another."""
    named = [f"mask_{name}" for name in first.structures]
    train = cohort.split("train")
    train = train.select(
        train.manifest.image_id[train.manifest[named].notna().all(axis=1)].tolist()
    )
    drawn, quiet = [first], pd.DataFrame({"image_id": [], "doubt": []})
    while len(drawn) < FEW:
        pictures = np.stack([annotation.square(NEXT_SIZE) for annotation in drawn])
        offers = next_examples(train, pictures, quiet, settings.seed)
        if not offers:
            break
        drawn.append(from_cohort(cohort, offers[0]["image_id"]))
    return drawn


def prior_of(
    cohort: Cohort,
    test: Cohort,
    drawn: list[Annotation],
    method: str,
    settings: PriorSettings,
    backbone: Path | None = None,
) -> SpatialPrior:
    """The prior of one method for the test images, in memory."""
    if method.startswith("statistics"):
        prior, transfer = from_statistics(cohort, settings)
        if method == "statistics" or transfer is None:
            return prior
        per_image, records = transfer(np.asarray(test.squares(settings.registration.size)))
        table = pd.DataFrame(records).assign(image_id=test.image_ids)
        return replace(prior, per_image=per_image, table=table)
    maps = static_maps(drawn[0], settings.size, settings.softness)
    names = drawn[0].structures
    excluded = frozenset().union(*(twins(cohort, annotation) for annotation in drawn))
    if method == "static":
        return SpatialPrior(maps, names, method, "annotation", excluded)
    chosen = settings.model_copy(update={"method": "deformable" if method == "few" else method})
    if method == "itk_bspline":
        size = settings.registration.size
        example = Example(drawn[0].square(size), drawn[0].coverage(size))
        return peer_prior(maps, drawn[0], test, example, settings)
    transfer = transferring(drawn, chosen)
    if method == "consensus":
        transfer, _ = stepping_stones(cohort, transfer)
    per_image, records = transfer(np.asarray(test.squares(settings.registration.size)))
    table = pd.DataFrame(records).assign(image_id=test.image_ids)
    prior = SpatialPrior(maps, names, method, "annotation", excluded, per_image, table)
    if method == "refined" and backbone:
        prior = refined(prior, test, backbone, settings.refine)
    return prior


def changed(annotation: Annotation, how: str) -> Annotation:
    """The drawing `eroded`, `dilated` or `shifted` by 5 % of the image's side."""
    step = round(0.05 * max(annotation.image.shape))
    disk = np.hypot(*np.mgrid[-step : step + 1, -step : step + 1]) <= step
    change: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {
        "eroded": lambda m: ndimage.binary_erosion(m, disk),
        "dilated": lambda m: ndimage.binary_dilation(m, disk),
        "shifted": lambda m: np.asarray(ndimage.shift(m, (step, step), order=0)),
    }
    return replace(annotation, masks={n: change[how](m) for n, m in annotation.masks.items()})


def sensitivity(cohort: Cohort, images: int, examples: int = 10) -> Iterator[Row]:
    """The deformable prior from other typical images, then from worse drawings of the first."""
    settings, test = PriorSettings(), cohort.split("test").take(images)
    train = cohort.split("train")
    first = most_typical(cohort)
    drawn = train.manifest[[f"mask_{n}" for n in from_cohort(cohort, first).structures]].notna()
    there = train.select(train.manifest.image_id[drawn.all(axis=1)].tolist())
    order = [there.image_ids[int(row)] for row in ranks(there)]
    step = max(1, len(order) // examples)
    cases = {f"image {n}": from_cohort(cohort, order[n * step]) for n in range(examples)}
    whole = from_cohort(cohort, first)
    cases |= {how: changed(whole, how) for how in ("eroded", "dilated", "shifted")}
    for name, annotation in cases.items():
        prior = prior_of(cohort, test, [annotation], "deformable", settings)
        yield name, float("nan"), scores(prior, test, limit=images)


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


def report(rows: Iterator[Row]) -> None:
    """Print one line per method and structure."""
    print(f"{'method':<18} {'s/image':>7}  {'structure':<17} Dice [95 %], 5 %, pixel-AP [95 %]")
    for method, seconds, found in rows:
        for name, table in found.items():
            patients = table.patient_id.to_numpy()
            low, high = interval(table.dice.to_numpy(), patients)
            least, most = interval(table.pixel_ap.to_numpy(), patients)
            print(
                f"{method:<18} {seconds:7.3f}  {name:<17} {table.dice.mean():.3f} [{low:.3f}, "
                f"{high:.3f}] {np.percentile(table.dice, 5):.3f}  {table.pixel_ap.mean():.3f} "
                f"[{least:.3f}, {most:.3f}]  n={len(table)}",
                flush=True,
            )


def main(
    cohort: Path | None = None,
    images: int = 100,
    worse: bool = False,
    backbone: Path | None = None,
) -> None:
    """Bench on a cohort, or on 80 phantoms made in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        judged = Cohort.open(cohort) if cohort else phantom_cohort(Path(folder) / "cohort")
        report(sensitivity(judged, images) if worse else measured(judged, images, backbone))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--sensitivity", action="store_true")
    parser.add_argument("--backbone", type=Path, help="also measure `refined` with it")
    arguments = parser.parse_args()
    main(arguments.cohort, arguments.images, arguments.sensitivity, arguments.backbone)
