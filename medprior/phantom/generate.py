"""Generates a phantom cohort on disk: DICOM files, masks, labels and the truth."""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from medprior.observer import progress_bar
from medprior.phantom.dicom_file import PhantomIdentity, write_phantom_dicom
from medprior.phantom.render import render_sampled_image, sample_image_parameters
from medprior.phantom.request import check_finished_or_mark_started, check_generation_arguments, clear_started_mark
from medprior.phantom.settings import FINDINGS, PhantomSettings
from medprior.provenance import atomic_write, sha256_file, write_config


@dataclass(frozen=True)
class ImageTask:
    """One image to generate."""

    out: Path
    seed: int
    patient: int
    image: int
    settings: PhantomSettings


@dataclass(frozen=True)
class PhantomRecord:
    """Table entries of one image."""

    image: str
    patient_id: str
    labels: dict[str, float]
    truth: dict[str, float]
    ctr: float
    sha256: str


def generate_phantom_cohort(
    out: Path,
    patients: int,
    seed: int,
    settings: PhantomSettings | None = None,
    workers: int | None = None,
) -> None:
    """Write a cohort; the same patients, seed and settings give the same bytes.

    Args:
        out: folder to write; created if missing.
        patients: how many; each has 1 to `settings.max_images` images.
        seed: of every random choice.
        settings: the defaults if None.
        workers: processes, all cores if None; does not change the result.

    Raises:
        ConfigError: a number out of range, or `out` holds another phantom cohort.
        InputMissing: `out` holds foreign files or cannot be written.
    """
    settings = settings or PhantomSettings()
    check_generation_arguments(patients, seed, workers)
    out = Path(out)
    request = {"patients": patients, "settings": settings.model_dump(mode="json")}
    if check_finished_or_mark_started(out, request, seed):
        return
    tasks = list(plan_images(out, patients, seed, settings))
    count = workers or os.cpu_count() or 1
    rows = list(progress_bar(generate_images(tasks, count), total=len(tasks), desc="phantom", unit="image"))
    write_label_tables(out, rows)
    write_config(
        out,
        "phantom",
        request,
        outputs=("labels.csv", "truth.csv"),
        seed=seed,
        facts={"images": len(rows), "labels": list(FINDINGS)},
    )
    clear_started_mark(out)


def plan_images(out: Path, patients: int, seed: int, settings: PhantomSettings) -> Iterator[ImageTask]:
    """Plan all images: half of the patients have one, the others up to `max_images`."""
    for patient in range(1, patients + 1):
        rng = np.random.default_rng([seed, patient, 4])
        several = rng.random() < 0.5 and settings.max_images > 1
        count = int(rng.integers(2, settings.max_images + 1)) if several else 1
        for image in range(count):
            yield ImageTask(out, seed, patient, image, settings)


def generate_images(tasks: list[ImageTask], workers: int) -> Iterator[PhantomRecord]:
    """Generate the images, in order, in `workers` processes."""
    if workers == 1 or len(tasks) == 1:
        yield from map(generate_image, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as pool:
        yield from pool.map(generate_image, tasks, chunksize=2)


def generate_image(task: ImageTask) -> PhantomRecord:
    """Render one image and write its DICOM file and masks."""
    study = sample_image_parameters((task.seed, task.patient), task.image, task.settings)
    rows = task.settings.size
    image = render_sampled_image(study, rows, round(rows * study.vendor.aspect), task.settings)
    identity = create_identity(task, image.facts["age"])
    relative = f"dicom/{identity.patient}/{identity.image}.dcm"
    write_phantom_dicom(task.out / relative, image, study.vendor, study.voi, identity)
    digest = sha256_file(task.out / relative)
    folder = task.out / "masks" / identity.image
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in image.masks.items():
        Image.fromarray(mask).save(folder / f"{name}.png", optimize=False)
    return PhantomRecord(relative, identity.patient, image.labels, image.truth, image.facts["ctr"], digest)


def create_identity(task: ImageTask, age: float) -> PhantomIdentity:
    """Fictional identifiers and dates; a patient's age is the same in all images."""
    rng = np.random.default_rng([task.seed, task.patient, 5])
    first_date = date(2015, 1, 1) + timedelta(days=int(rng.integers(3000)))
    gap = int(rng.integers(5, 300 // task.settings.max_images))
    patient = f"phantom-{task.seed}-{task.patient:05d}"
    return PhantomIdentity(
        patient=patient,
        number=task.patient,
        study=task.image + 1,
        image=f"{patient}-{task.image + 1}",
        seed=task.seed,
        study_date=first_date + timedelta(days=gap * task.image),
        birth_date=first_date - timedelta(days=int((age + 0.1) * 365.25)),
    )


def write_label_tables(out: Path, rows: list[PhantomRecord]) -> None:
    """`labels.csv` with unknowns left empty and `truth.csv` without any."""
    labels = [[row.image, row.patient_id, *(format_label(row.labels[name]) for name in FINDINGS)] for row in rows]
    truth = [
        [row.image, f"{row.ctr:.6f}", *(format_label(row.truth[name]) for name in FINDINGS), row.sha256] for row in rows
    ]
    write_csv_file(out / "labels.csv", ["image", "patient_id", *FINDINGS], labels)
    write_csv_file(out / "truth.csv", ["image", "ctr", *FINDINGS, "sha256"], truth)


def format_label(value: float) -> str:
    """A label as `0` or `1`; unknown is empty."""
    return "" if math.isnan(value) else str(int(value))


def write_csv_file(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """A CSV file, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
