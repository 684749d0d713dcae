"""`build_prior`: a cohort and perhaps one annotation in, a spatial prior out."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from medprior.annotate import Annotation
from medprior.cohort import Cohort
from medprior.errors import MedpriorError
from medprior.observer import Observer, Silent
from medprior.priors.per_image import fitted_maps
from medprior.priors.picture import draw_prior
from medprior.priors.prior import PER_IMAGE, TABLE, SpatialPrior
from medprior.priors.quality import quality
from medprior.priors.registered import Example, Status
from medprior.priors.settings import PriorSettings
from medprior.priors.soft import softened, static_maps
from medprior.priors.statistics import NAMES, cohort_moments, regions, stable
from medprior.priors.transfer import Transfer
from medprior.provenance import write_config

RUNGS: dict[str, Status] = {
    "affine": "affine", "deformable": "deformable", "registered": "deformable",
    "consensus": "deformable",
}  # fmt: skip


def build_prior(
    cohort: Cohort | Path | str,
    out: Path | str,
    annotation: Annotation | Path | str | None = None,
    method: str | None = None,
    settings: PriorSettings | None = None,
    observer: Observer | None = None,
    workers: int | None = None,
) -> SpatialPrior:
    """Make a spatial prior and write its folder.

    Maps of single images come from that image and the annotation alone, for all splits; statistics
    are of the training split only. No mask of the cohort is used but to say how well it went, on
    training and validation images.

    Args:
        cohort: a cohort or its folder.
        out: the prior's folder; an unfinished run there is taken up.
        annotation: an annotation or its folder; every method but `statistics` needs one.
        method: overrides `settings.method`.
        settings: see `PriorSettings`.
        observer: listens to settings, quality and pictures.
        workers: processes (default: one per core).

    Raises:
        MedpriorError: no annotation for a method that needs one, or a method that cannot run.
    """
    cohort = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    settings, observer = settings or PriorSettings(), observer or Silent()
    if method is not None:
        settings = PriorSettings.checked(settings.model_dump() | {"method": method}, "--method")
    example = loaded(annotation, settings.method)
    observer.params(settings.model_dump(mode="json"))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    # An old result must not pass for a finished one while the new one is made.
    (folder / "config.json").unlink(missing_ok=True)
    workers = workers or len(os.sched_getaffinity(0))
    if example is None:
        prior = from_statistics(cohort, settings)
    else:
        prior = from_annotation(cohort, example, settings, folder, workers)
    source = Path(annotation) if isinstance(annotation, (str, Path)) else None
    return finished(prior, cohort, folder, settings, observer, source)


def loaded(annotation: Annotation | Path | str | None, method: str) -> Annotation | None:
    """The annotation, None for `statistics`.

    Raises:
        MedpriorError: it is missing, or the method cannot run.
    """
    if method == "statistics":
        return None
    if method == "refined":
        raise MedpriorError(
            "refined needs a pretrained backbone's attention; it is not available yet",
            where="--method",
            fix="use registered or consensus",
        )
    if annotation is None:
        raise MedpriorError(
            f"method {method} carries one annotated radiograph over to the others",
            where="--annotation",
            expected="an annotation folder",
            fix="run `medprior annotate` first, or use --method statistics",
        )
    return annotation if isinstance(annotation, Annotation) else Annotation.load(annotation)


def from_statistics(cohort: Cohort, settings: PriorSettings) -> SpatialPrior:
    """Lungs and heart of what the training images have in common."""
    moments = cohort_moments(cohort, settings.statistics)
    found = regions(moments, settings.statistics)
    coverage = np.stack([stable(found[name], moments) for name in NAMES])
    maps = softened(coverage, settings.softness)
    facts = {"images_averaged": moments.count}
    return SpatialPrior(maps, NAMES, "statistics", "statistics", facts=facts)


def from_annotation(
    cohort: Cohort, annotation: Annotation, settings: PriorSettings, folder: Path, workers: int
) -> SpatialPrior:
    """The annotation carried over to every image of the cohort by `settings.method`."""
    maps = static_maps(annotation, settings.size, settings.softness)
    excluded = twins(cohort, annotation)
    names = annotation.structures
    facts: dict[str, Any] = {"annotation": described(annotation)}
    if settings.method == "static":
        return SpatialPrior(maps, names, "static", "annotation", excluded, facts=facts)
    size = settings.registration.size
    first = Example(annotation.square(size), annotation.coverage(max(size, settings.size)))
    examples: tuple[Example, ...] = (first,)
    if settings.method == "consensus":
        from medprior.priors.consensus import stepping_stones

        examples, stones = stepping_stones(cohort, first, settings)
        facts["stones"] = list(stones)
    transfer = Transfer(examples, RUNGS[settings.method], settings)
    key = work_key(cohort, first, settings)
    squares = cohort.squares(size)
    per_image, table = fitted_maps(folder, key, cohort.image_ids, squares, transfer, workers)
    counts = {str(name): int(number) for name, number in table.status.value_counts().items()}
    return SpatialPrior(
        maps, names, settings.method, "annotation", excluded, per_image, table,
        facts | {"registered": counts},
    )  # fmt: skip


def twins(cohort: Cohort, annotation: Annotation) -> frozenset[str]:
    """Images of the cohort that are the annotated one, by name or by their stored pixels."""
    same = cohort.manifest.image_id == annotation.image_id
    if annotation.pixel_sha256:
        same |= cohort.manifest.pixel_sha256 == annotation.pixel_sha256
    return frozenset(cohort.manifest.image_id[same].tolist())


def described(annotation: Annotation) -> dict[str, Any]:
    """What `prior.json` says of the annotation."""
    return {
        "image_id": annotation.image_id,
        "structures": list(annotation.structures),
        "author": annotation.author,
    }


def work_key(cohort: Cohort, example: Example, settings: PriorSettings) -> str:
    """Stands for everything the maps of single images depend on."""
    digest = hashlib.sha256(json.dumps(settings.model_dump(mode="json"), sort_keys=True).encode())
    digest.update(example.image.tobytes() + example.coverage.tobytes())
    for pair in zip(cohort.image_ids, cohort.manifest.pixel_sha256, strict=True):
        digest.update(":".join(pair).encode())
    return digest.hexdigest()


def finished(
    prior: SpatialPrior,
    cohort: Cohort,
    folder: Path,
    settings: PriorSettings,
    observer: Observer,
    annotation: Path | None,
) -> SpatialPrior:
    """Judge, draw and write the prior; `config.json` comes last."""
    seen = cohort.manifest.image_id[cohort.manifest.split.isin(["train", "val"])].tolist()
    scores = quality(prior, cohort.select(seen), seed=settings.seed)
    if scores:
        prior.facts["quality"] = {"splits": ["train", "val"], "structures": scores}
    prior.save(folder)
    draw_prior(prior, cohort, folder / "prior.png", settings.seed)
    observer.artifact(folder / "prior.png")
    numbers = {
        f"quality.{name}.{metric}": float(values[metric])
        for name, values in scores.items()
        for metric in ("dice", "pixel_ap")
    }
    if prior.table is not None:
        numbers["mean_trust"] = float(prior.table.trust.mean())
    observer.metrics(numbers, 0)
    own = (PER_IMAGE, TABLE) if prior.table is not None else ()
    inputs = {"cohort": cohort.path} | ({"annotation": annotation} if annotation else {})
    write_config(
        folder, "prior", settings.model_dump(mode="json"), inputs=inputs,
        outputs=("prior.npz", "prior.json", *own), seed=settings.seed,
    )  # fmt: skip
    return SpatialPrior.load(folder)
