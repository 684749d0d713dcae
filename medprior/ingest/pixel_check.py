"""Checks stored images by their pixels with the anatomy model, and flags those that are no upright frontal chests.

The model runs in `medprior predict`, in a process of its own: this room does not import it.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medprior.cohort import CohortWriter
from medprior.dicom.radiograph import FRONTAL_VIEWS, WHITE_16_BIT
from medprior.observer import progress_bar
from medprior.workers.stage_process import run_stage_command

CHECKED = "pixels_checked"  # entry of a record, so that a resumed run checks an image once
FLAG_PREFIX = "pixels_"  # of the flags of `medprior.deploy.inference.upright_check`
IMAGES_PER_PROCESS = 200
FOLDER_PREFIX = "checking-"
WHERE = "--check-pixels"


def check_stored_pixels(writer: CohortWriter, private: Path) -> None:
    """Add flags to the frontal images that were not checked before.

    Args:
        writer: of the cohort.
        private: the cohort's private folder; it holds the images for a moment.

    Raises:
        MedpriorError: the model is missing or cannot be used.
    """
    for left in private.glob(f"{FOLDER_PREFIX}*"):  # of a run that was killed
        shutil.rmtree(left)
    pending = [image_id for image_id in sorted(writer.records) if is_unchecked(writer, image_id)]
    with progress_bar(total=len(pending), desc="check pixels", unit="image", disable=not pending) as bar:
        for start in range(0, len(pending), IMAGES_PER_PROCESS):
            chunk = pending[start : start + IMAGES_PER_PROCESS]
            with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=private) as folder:
                flags = find_pixel_flags(writer, chunk, Path(folder))
            for image_id in chunk:
                record = writer.records[image_id]
                joined = dict.fromkeys([*filter(None, record["flags"].split("|")), *flags[image_id]])
                writer.append_record(record | {"flags": "|".join(joined), CHECKED: True})
            bar.update(len(chunk))
    writer.commit()


def is_unchecked(writer: CohortWriter, image_id: str) -> bool:
    """Whether an image is frontal, as far as its header tells, and was not checked."""
    record = writer.records[image_id]
    return not record.get(CHECKED) and record["view"] in FRONTAL_VIEWS


def find_pixel_flags(writer: CohortWriter, image_ids: Sequence[str], folder: Path) -> dict[str, list[str]]:
    """Flags of images from their pixels alone.

    Args:
        writer: of the cohort.
        image_ids: the images.
        folder: empty; gets the images as PNG, and the answers.

    Raises:
        MedpriorError: the model is missing or cannot be used.
    """
    pictures, answers = folder / "pictures", folder / "answers"
    pictures.mkdir(mode=0o700)
    for image_id in image_ids:
        levels = np.rint(writer.pixels(image_id) * WHITE_16_BIT).astype(np.uint16)
        Image.fromarray(levels).save(pictures / f"{image_id}.png", compress_level=1)
    run_stage_command(["predict", str(pictures), "-o", str(answers), "--check-upright", "--keep-names"], WHERE)
    with (answers / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = {Path(row["file"]).stem: row["flags"].split() for row in csv.DictReader(file)}
    return {name: [flag for flag in rows[name] if flag.startswith(FLAG_PREFIX)] for name in image_ids}
