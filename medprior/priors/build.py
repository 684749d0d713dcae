"""`build_prior`: a cohort and perhaps one annotation in, a spatial prior out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medprior.annotate import Annotation
from medprior.annotate.typicality import SQUARE_SIZE_PX as NEXT_SIZE
from medprior.cohort import Cohort
from medprior.dicom.display.resample import resize_pixels
from medprior.errors import MedpriorError
from medprior.ingest.settings import IngestSettings
from medprior.observer import NullObserver, Observer
from medprior.priors.correction import fit_corrector
from medprior.priors.doubtful_images import suggest_next_examples
from medprior.priors.per_image import compute_image_maps
from medprior.priors.prior import PER_IMAGE_FILE, TABLE_FILE, SpatialPrior
from medprior.priors.prior_figure import plot_prior
from medprior.priors.quality import summarise_quality
from medprior.priors.registration import Example, RegistrationStatus
from medprior.priors.settings import PriorSettings
from medprior.priors.soft_maps import build_static_maps, soften_maps
from medprior.priors.statistics import compute_cohort_moments, find_regions, weight_by_stability
from medprior.priors.transfer import FUSED_BLUR_FACTOR, LabelTransfer
from medprior.provenance import write_config

REGISTRATION_BY_METHOD: dict[str, RegistrationStatus] = {
    "affine": "affine", "deformable": "deformable", "registered": "deformable",
    "consensus": "deformable", "refined": "deformable",
}  # fmt: skip


class WorkerOptions(NamedTuple):
    """Who registers: so many processes here, or the workers of a Dask scheduler."""

    workers: int
    scheduler: str | None = None


Annotations = Annotation | Path | str | Sequence[Annotation | Path | str] | None


def build_prior(
    cohort: Cohort | Path | str,
    out: Path | str,
    annotation: Annotations = None,
    method: str | None = None,
    settings: PriorSettings | None = None,
    observer: Observer | None = None,
    workers: int | None = None,
    only: Sequence[str] | None = None,
    backbone: Path | str | None = None,
    scheduler: str | None = None,
) -> SpatialPrior:
    """Make a spatial prior and write its folder.

    Maps of single images come from that image and the annotation alone, for all splits; statistics
    are of the training split only. No mask of the cohort is used but to say how well it went, on
    training and validation images.

    Args:
        cohort: a cohort or its folder.
        out: the prior's folder; an unfinished run there is taken up.
        annotation: an annotation or its folder, or several of the same structures; every method
            but `statistics` needs one.
        method: overrides `settings.method`.
        settings: see `PriorSettings`.
        observer: listens to settings, quality and pictures.
        workers: processes (default: one per core).
        only: image ids to make it for; all others have no maps of their own.
        backbone: for `refined`, a backbone folder whose heads were trained on these structures.
        scheduler: `tcp://HOST:PORT` of a Dask scheduler whose workers register the images, in place
            of processes here; the result is the same.

    Raises:
        InputMissing: an id of `only` is not in the cohort.
        MedpriorError: no annotation or backbone for a method that needs one.
    """
    cohort = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    cohort = cohort if only is None else cohort.select(list(dict.fromkeys(only)))
    settings, observer = settings or PriorSettings(), observer or NullObserver()
    if method is not None:
        settings = PriorSettings.checked(settings.model_dump() | {"method": method}, "--method")
    check_backbone(backbone, settings.method)
    IngestSettings.checked({"scheduler": scheduler}, "--scheduler")
    given = [] if annotation is None else collect_annotations(annotation)
    drawn = load_annotations(given, settings.method)
    observer.params(settings.model_dump(mode="json"))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    # An old result must not pass for a finished one while the new one is made.
    (folder / "config.json").unlink(missing_ok=True)
    means = WorkerOptions(workers or len(os.sched_getaffinity(0)), scheduler)
    prior = compute_prior(cohort, drawn, settings, folder, means, backbone)
    sources = [Path(one) for one in given if isinstance(one, (str, Path))]
    inputs = {f"annotation{n or ''}": path for n, path in enumerate(sources)}
    inputs |= {"backbone": Path(backbone)} if backbone else {}
    return score_and_save_prior(prior, cohort, folder, settings, observer, inputs)


def compute_prior(
    cohort: Cohort, drawn: Sequence[Annotation], settings: PriorSettings, folder: Path,
    means: WorkerOptions, backbone: Path | str | None,
) -> SpatialPrior:  # fmt: skip
    """The prior, its maps of single images in `folder`: of what was drawn, else of statistics."""
    if not drawn:
        prior, transfer = build_from_statistics(cohort, settings)
        return prior if transfer is None else fit_prior_to_cohort(prior, cohort, transfer, folder, means)
    prior = build_from_annotations(cohort, drawn, settings, folder, means)
    if backbone is None:
        return prior
    from medprior.priors.refinement import refine_prior

    return refine_prior(prior, cohort, Path(backbone), settings.refine)


def check_backbone(backbone: Path | str | None, method: str) -> None:
    """MedpriorError unless `refined`, and no other method, is given a backbone."""
    if (backbone is None) == (method != "refined"):
        return
    raise MedpriorError(
        "refined blends a fitted prior with a backbone's attention"
        if backbone is None
        else f"method {method} takes no backbone",
        where="--backbone",
        expected="a folder of medprior pretrain" if backbone is None else "--method refined",
        fix="pretrain with the registered prior first" if backbone is None else "leave it out",
    )


def collect_annotations(
    annotation: Annotation | Path | str | Sequence[Annotation | Path | str],
) -> list[Annotation | Path | str]:
    """One annotation or several, as a list."""
    if isinstance(annotation, (Annotation, str, Path)):
        return [annotation]
    return list(annotation)


def load_annotations(given: Sequence[Annotation | Path | str], method: str) -> tuple[Annotation, ...]:
    """The annotations, none for `statistics`.

    Raises:
        MedpriorError: none is given, they are of different structures, or the method cannot run.
    """
    if method == "statistics":
        return ()
    if not given:
        raise MedpriorError(
            f"method {method} carries one annotated radiograph over to the others",
            where="--annotation",
            expected="an annotation folder",
            fix="run `medprior annotate` first, or use --method statistics",
        )
    drawn = tuple(a if isinstance(a, Annotation) else Annotation.load(a) for a in given)
    for number, one in enumerate(drawn, start=1):
        if set(one.structures) != set(drawn[0].structures):
            raise MedpriorError(
                f"annotation {number} is of other structures than the first",
                where="--annotation",
                expected=", ".join(drawn[0].structures),
                found=", ".join(one.structures),
                fix="draw the same structures on every image",
            )
    return drawn


def build_from_statistics(cohort: Cohort, settings: PriorSettings) -> tuple[SpatialPrior, LabelTransfer | None]:
    """What the training images have in common, and what fits it to each of them, if asked for."""
    statistics = settings.statistics
    moments, found, alike = find_regions(compute_cohort_moments(cohort, statistics), statistics)
    names = tuple(found)
    coverage = np.stack([weight_by_stability(mask, moments) for mask in found.values()])
    maps = soften_maps(coverage, settings.softness)
    facts = {"images_averaged": moments.count, "split_half_iou": alike}
    prior = SpatialPrior(maps, names, "statistics", "statistics", facts=facts)
    if not statistics.fit:
        return prior, None
    low, high = float(moments.mean.min()), float(moments.mean.max())
    size = settings.registration.size
    mean = resize_pixels(((moments.mean - low) / max(high - low, 1e-9)).astype(np.float32), size, size)
    # Whole regions are carried over: what is unstable in the mean is not so in one image.
    whole = np.stack(list(found.values())).astype(np.float32)
    return prior, LabelTransfer((Example(mean, whole),), "deformable", settings, names)


def fit_prior_to_cohort(
    prior: SpatialPrior, cohort: Cohort, transfer: LabelTransfer, folder: Path, means: WorkerOptions
) -> SpatialPrior:
    """The prior with maps of its own for every image."""
    key = compute_resume_key(cohort, transfer)
    squares = cohort.squares(transfer.settings.registration.size)
    per_image, table = compute_image_maps(folder, key, cohort.image_ids, squares, transfer, *means)
    counts = {str(name): int(number) for name, number in table.status.value_counts().items()}
    facts = prior.facts | {"registered": counts, "doubtful": int((table.doubt != "").sum())}
    return replace(prior, per_image=per_image, table=table, facts=facts)


def build_from_annotations(
    cohort: Cohort,
    drawn: Sequence[Annotation],
    settings: PriorSettings,
    folder: Path,
    means: WorkerOptions,
) -> SpatialPrior:
    """The annotations carried over to every image of the cohort by `settings.method`."""
    names = drawn[0].structures
    maps = np.mean([build_static_maps(a, settings.size, settings.softness) for a in drawn], axis=0)
    excluded = frozenset().union(*(find_annotated_images(cohort, annotation) for annotation in drawn))
    facts: dict[str, Any] = {"annotation": describe_annotation(drawn[0])}
    if len(drawn) > 1:
        facts["annotations"] = [describe_annotation(annotation) for annotation in drawn]
    prior = SpatialPrior(maps, names, settings.method, "annotation", excluded, facts=facts)
    if settings.method == "static":
        return prior
    transfer = build_transfer(drawn, settings)
    if settings.method == "consensus":
        from medprior.priors.consensus import add_intermediate_examples

        transfer, stones = add_intermediate_examples(cohort, transfer)
        facts["stones"] = list(stones)
    prior = fit_prior_to_cohort(prior, cohort, transfer, folder, means)
    assert prior.table is not None
    pictures = np.stack([annotation.square(NEXT_SIZE) for annotation in drawn])
    prior.facts["next"] = suggest_next_examples(cohort, pictures, prior.table, settings.seed)
    return prior


def build_transfer(drawn: Sequence[Annotation], settings: PriorSettings) -> LabelTransfer:
    """What carries these annotations onto an image; with three or more of them, corrected."""
    size, names = settings.registration.size, drawn[0].structures
    examples = tuple(Example(a.square(size), a.coverage(max(size, settings.size))) for a in drawn)
    rung = REGISTRATION_BY_METHOD[settings.method]
    transfer = LabelTransfer(examples, rung, settings, names, annotated=len(examples))
    if not settings.correct:
        return transfer
    corrector = fit_corrector(examples, lambda p, others: transfer.carried(p, others)[0], settings.seed)
    return replace(transfer, corrector=corrector)


def find_annotated_images(cohort: Cohort, annotation: Annotation) -> frozenset[str]:
    """Images of the cohort that are the annotated one, by name or by their stored pixels."""
    same = cohort.manifest.image_id == annotation.image_id
    if annotation.pixel_sha256:
        same |= cohort.manifest.pixel_sha256 == annotation.pixel_sha256
    return frozenset(cohort.manifest.image_id[same].tolist())


def describe_annotation(annotation: Annotation) -> dict[str, Any]:
    """What `prior.json` says of the annotation."""
    return {
        "image_id": annotation.image_id,
        "structures": list(annotation.structures),
        "author": annotation.author,
    }


def compute_resume_key(cohort: Cohort, transfer: LabelTransfer) -> str:
    """Stands for everything the maps of single images depend on."""
    settings = transfer.settings.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps([settings, FUSED_BLUR_FACTOR], sort_keys=True).encode())
    for example in transfer.examples[: transfer.annotated]:
        digest.update(example.image.tobytes() + example.coverage.tobytes())
    for pair in zip(cohort.image_ids, cohort.manifest.pixel_sha256, strict=True):
        digest.update(":".join(pair).encode())
    return digest.hexdigest()


def score_and_save_prior(
    prior: SpatialPrior,
    cohort: Cohort,
    folder: Path,
    settings: PriorSettings,
    observer: Observer,
    inputs: dict[str, Path],
) -> SpatialPrior:
    """Judge, draw and write the prior; `config.json` comes last."""
    seen = cohort.manifest.image_id[cohort.manifest.split.isin(["train", "val"])].tolist()
    scores = summarise_quality(prior, cohort.select(seen), seed=settings.seed)
    if scores:
        prior.facts["quality"] = {"splits": ["train", "val"], "structures": scores}
    prior.save(folder)
    plot_prior(prior, cohort, folder / "prior.png", settings.seed)
    observer.artifact(folder / "prior.png")
    numbers = {
        f"quality.{name}.{metric}": float(values[metric])
        for name, values in scores.items()
        for metric in ("dice", "pixel_ap")
    }
    if prior.table is not None:
        numbers["mean_trust"] = float(prior.table.trust.mean())
    observer.metrics(numbers, 0)
    own = (PER_IMAGE_FILE, TABLE_FILE) if prior.table is not None else ()
    write_config(
        folder, "prior", settings.model_dump(mode="json"),
        inputs={"cohort": cohort.path, **inputs},
        outputs=("prior.npz", "prior.json", *own), seed=settings.seed,
    )  # fmt: skip
    return SpatialPrior.load(folder)
