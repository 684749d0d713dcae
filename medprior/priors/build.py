"""Builds a spatial prior from a cohort and annotations, or from the statistics of the cohort."""

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
from medprior.annotate.sources import find_same_pixels
from medprior.annotate.typicality import SQUARE_SIZE_PX as NEXT_SIZE
from medprior.cohort import Cohort
from medprior.dicom.display.resample import resize_pixels
from medprior.errors import MedpriorError
from medprior.ingest.settings import IngestSettings
from medprior.locks import PRIVATE_FOLDER_MODE
from medprior.observer import NullObserver, Observer
from medprior.priors.correction import fit_corrector
from medprior.priors.doubtful_images import suggest_next_examples
from medprior.priors.per_image import compute_image_maps
from medprior.priors.prior import ANNOTATED_STATUS, PER_IMAGE_FILE, TABLE_FILE, UINT8_MAX, Maps, SpatialPrior
from medprior.priors.prior_figure import plot_prior
from medprior.priors.quality import summarise_quality
from medprior.priors.registration import Example, RegistrationStatus
from medprior.priors.settings import PriorSettings
from medprior.priors.soft_maps import build_static_maps, soften_maps
from medprior.priors.statistics import compute_cohort_moments, segment_with_split_half_iou, weight_by_stability
from medprior.priors.transfer import FUSED_BLUR_FACTOR, LabelTransfer
from medprior.provenance import write_config

REGISTRATION_BY_METHOD: dict[str, RegistrationStatus] = {
    "affine": "affine", "deformable": "deformable", "registered": "deformable",
    "consensus": "deformable", "refined": "deformable",
}  # fmt: skip


class WorkerOptions(NamedTuple):
    """Where images are registered: in local processes, or by the workers of a Dask scheduler."""

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
    """Build a spatial prior and write its folder.

    Maps of single images depend on that image and the annotation alone, for all splits; statistics
    are of the training split only. Masks of the cohort are used only to measure quality, on
    training and validation images.

    Args:
        cohort: a cohort or its folder.
        out: the prior's folder; an unfinished run there is resumed.
        annotation: an annotation or its folder, or several of the same structures; every method
            but `statistics` needs one.
        method: overrides `settings.method`.
        settings: see `PriorSettings`.
        observer: receives settings, quality and pictures.
        workers: processes (default: one per core).
        only: image ids that get maps of their own; default all.
        backbone: for `refined`, a backbone folder whose heads were trained on these structures.
        scheduler: `tcp://HOST:PORT` of a Dask scheduler whose workers register the images, instead
            of local processes; the result is the same.

    Raises:
        InputMissing: an id of `only` is not in the cohort.
        MedpriorError: no annotation or backbone for a method that needs one.
    """
    cohort = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    cohort = cohort if only is None else cohort.select(list(dict.fromkeys(only)))
    settings, observer = settings or PriorSettings(), observer or NullObserver()
    if method is not None:
        settings = PriorSettings.from_values(settings.model_dump() | {"method": method}, "--method")
    check_backbone_matches_method(backbone, settings.method)
    IngestSettings.from_values({"scheduler": scheduler}, "--scheduler")
    sources = [] if annotation is None else collect_annotations(annotation)
    annotations = load_annotations(sources, settings.method)
    observer.params(settings.model_dump(mode="json"))
    folder = Path(out)
    folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    # Without it an interrupted run cannot be mistaken for a finished one.
    (folder / "config.json").unlink(missing_ok=True)
    options = WorkerOptions(workers or len(os.sched_getaffinity(0)), scheduler)
    prior = compute_prior(cohort, annotations, settings, folder, options, backbone)
    paths = [Path(source) for source in sources if isinstance(source, (str, Path))]
    inputs = {f"annotation{n or ''}": path for n, path in enumerate(paths)}
    inputs |= {"backbone": Path(backbone)} if backbone else {}
    return score_and_save_prior(prior, cohort, folder, settings, observer, inputs)


def compute_prior(
    cohort: Cohort, annotations: Sequence[Annotation], settings: PriorSettings, folder: Path,
    options: WorkerOptions, backbone: Path | str | None,
) -> SpatialPrior:  # fmt: skip
    """The prior of the annotations, or of statistics without any; per-image maps in `folder`."""
    if not annotations:
        prior, transfer = build_from_statistics(cohort, settings)
        return prior if transfer is None else add_per_image_maps(prior, cohort, transfer, folder, options)
    prior = build_from_annotations(cohort, annotations, settings, folder, options)
    if backbone is None:
        return prior
    from medprior.priors.refinement import refine_prior

    return refine_prior(prior, cohort, Path(backbone), settings.refine)


def check_backbone_matches_method(backbone: Path | str | None, method: str) -> None:
    """Raise MedpriorError unless `refined` and only `refined` has a backbone."""
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


def load_annotations(sources: Sequence[Annotation | Path | str], method: str) -> tuple[Annotation, ...]:
    """The annotations, none for `statistics`.

    Raises:
        MedpriorError: there is none, or they are of different structures.
    """
    if method == "statistics":
        return ()
    if not sources:
        raise MedpriorError(
            f"method {method} needs an annotated radiograph",
            where="--annotation",
            expected="an annotation folder",
            fix="run `medprior annotate` first, or use --method statistics",
        )
    annotations = tuple(a if isinstance(a, Annotation) else Annotation.load(a) for a in sources)
    for number, annotation in enumerate(annotations, start=1):
        if set(annotation.structures) != set(annotations[0].structures):
            raise MedpriorError(
                f"annotation {number} is of other structures than the first",
                where="--annotation",
                expected=", ".join(annotations[0].structures),
                found=", ".join(annotation.structures),
                fix="annotate the same structures on every image",
            )
    return annotations


def build_from_statistics(cohort: Cohort, settings: PriorSettings) -> tuple[SpatialPrior, LabelTransfer | None]:
    """The prior of cohort statistics, and its transfer to each image where `fit` is set."""
    statistics = settings.statistics
    moments, regions, iou = segment_with_split_half_iou(compute_cohort_moments(cohort, statistics), statistics)
    names = tuple(regions)
    coverage = np.stack([weight_by_stability(mask, moments) for mask in regions.values()])
    maps = soften_maps(coverage, settings.softness)
    facts = {"images_averaged": moments.count, "split_half_iou": iou}
    prior = SpatialPrior(maps, names, "statistics", "statistics", facts=facts)
    if not statistics.fit:
        return prior, None
    low, high = float(moments.mean.min()), float(moments.mean.max())
    size = settings.registration.size
    mean = resize_pixels(((moments.mean - low) / max(high - low, 1e-9)).astype(np.float32), size, size)
    # Unweighted regions are transferred: places that vary between images are certain within one.
    unweighted = np.stack(list(regions.values())).astype(np.float32)
    return prior, LabelTransfer((Example(mean, unweighted),), "deformable", settings, names)


def add_per_image_maps(
    prior: SpatialPrior, cohort: Cohort, transfer: LabelTransfer, folder: Path, options: WorkerOptions,
    own_maps: dict[str, Maps] | None = None,
) -> SpatialPrior:  # fmt: skip
    """The prior with per-image maps of the cohort; `own_maps` [K, H, H] in place of transferred ones, by image id."""
    own_maps = own_maps or {}
    key = compute_resume_key(cohort, transfer, sorted(own_maps))
    squares = cohort.open_squares(transfer.settings.registration.size)
    per_image, table = compute_image_maps(folder, key, cohort.image_ids, squares, transfer, *options)
    for image_id, maps in own_maps.items():
        row = cohort.image_ids.index(image_id)
        per_image[row] = np.rint(maps * UINT8_MAX)
        table.loc[row, ["trust", "status", "doubt"]] = 1.0, ANNOTATED_STATUS, ""
    counts = {str(name): int(number) for name, number in table.status.value_counts().items()}
    facts = prior.facts | {"registered": counts, "doubtful": int((table.doubt != "").sum())}
    return replace(prior, per_image=per_image, table=table, facts=facts)


def build_from_annotations(
    cohort: Cohort,
    annotations: Sequence[Annotation],
    settings: PriorSettings,
    folder: Path,
    options: WorkerOptions,
) -> SpatialPrior:
    """The annotations transferred to every image of the cohort by `settings.method`."""
    names = annotations[0].structures
    maps = np.mean([build_static_maps(a, settings.size, settings.softness) for a in annotations], axis=0)
    excluded = frozenset().union(*(find_annotated_images(cohort, annotation) for annotation in annotations))
    facts: dict[str, Any] = {"annotation": describe_annotation(annotations[0])}
    if len(annotations) > 1:
        facts["annotations"] = [describe_annotation(annotation) for annotation in annotations]
    prior = SpatialPrior(maps, names, settings.method, "annotation", excluded, facts=facts)
    if settings.method == "static":
        return prior
    transfer = build_transfer(annotations, settings)
    if settings.method == "consensus":
        from medprior.priors.consensus import add_intermediate_examples

        transfer, image_ids = add_intermediate_examples(cohort, transfer)
        facts["stones"] = list(image_ids)
    own_maps = build_own_maps(cohort, annotations, settings)
    prior = add_per_image_maps(prior, cohort, transfer, folder, options, own_maps)
    assert prior.table is not None
    pictures = np.stack([annotation.square(NEXT_SIZE) for annotation in annotations])
    prior.facts["next"] = suggest_next_examples(cohort, pictures, prior.table, settings.seed)
    return prior


def build_transfer(annotations: Sequence[Annotation], settings: PriorSettings) -> LabelTransfer:
    """The label transfer of these annotations; with a corrector from three annotations on."""
    size, names = settings.registration.size, annotations[0].structures
    examples = tuple(Example(a.square(size), a.coverage(max(size, settings.size))) for a in annotations)
    transformation = REGISTRATION_BY_METHOD[settings.method]
    transfer = LabelTransfer(examples, transformation, settings, names, annotated=len(examples))
    if not settings.correct:
        return transfer
    corrector = fit_corrector(examples, lambda p, others: transfer.transfer_labels(p, others)[0], settings.seed)
    return replace(transfer, corrector=corrector)


def find_annotated_images(cohort: Cohort, annotation: Annotation) -> frozenset[str]:
    """Images of the cohort with the id or the stored pixels of the annotated image."""
    same = (cohort.manifest.image_id == annotation.image_id) | find_same_pixels(cohort, annotation)
    return frozenset(cohort.manifest.image_id[same].tolist())


def build_own_maps(cohort: Cohort, annotations: Sequence[Annotation], settings: PriorSettings) -> dict[str, Maps]:
    """Blurred masks float32 [K, H, H] of the annotated images of the cohort, by id; means over several annotations.

    Stored pixels identify an image where the annotation has their digest: another image may have the same id.
    """
    layers: dict[str, list[Maps]] = {}
    for annotation in annotations:
        maps = build_static_maps(annotation, settings.size, settings.softness)
        same_pixels = find_same_pixels(cohort, annotation)
        for image_id in find_annotated_images(cohort, annotation):
            if not annotation.pixel_sha256 or same_pixels[cohort.image_ids.index(image_id)]:
                layers.setdefault(image_id, []).append(maps)
    return {image_id: np.asarray(np.mean(maps, axis=0), dtype=np.float32) for image_id, maps in layers.items()}


def describe_annotation(annotation: Annotation) -> dict[str, Any]:
    """The entry of an annotation in `prior.json`."""
    return {
        "image_id": annotation.image_id,
        "structures": list(annotation.structures),
        "author": annotation.author,
    }


def compute_resume_key(cohort: Cohort, transfer: LabelTransfer, annotated_ids: Sequence[str] = ()) -> str:
    """Digest of everything that the per-image maps depend on."""
    settings = transfer.settings.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps([settings, FUSED_BLUR_FACTOR], sort_keys=True).encode())
    for example in transfer.examples[: transfer.annotated]:
        digest.update(example.image.tobytes() + example.coverage.tobytes())
    for pair in zip(cohort.image_ids, cohort.manifest.pixel_sha256, strict=True):
        digest.update(":".join(pair).encode())
    digest.update("\n".join(annotated_ids).encode())
    return digest.hexdigest()


def score_and_save_prior(
    prior: SpatialPrior,
    cohort: Cohort,
    folder: Path,
    settings: PriorSettings,
    observer: Observer,
    inputs: dict[str, Path],
) -> SpatialPrior:
    """Measure the quality of the prior, plot it and write it; `config.json` is written last."""
    scored_ids = cohort.manifest.image_id[cohort.manifest.split.isin(["train", "val"])].tolist()
    scores = summarise_quality(prior, cohort.select(scored_ids), seed=settings.seed)
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
    files = (PER_IMAGE_FILE, TABLE_FILE) if prior.table is not None else ()
    write_config(
        folder, "prior", settings.model_dump(mode="json"),
        inputs={"cohort": cohort.path, **inputs},
        outputs=("prior.npz", "prior.json", *files), seed=settings.seed,
    )  # fmt: skip
    return SpatialPrior.load(folder)
