"""Where an annotation comes from: files drawn elsewhere, or masks a cohort already has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medprior.annotate.annotation import Annotation
from medprior.cohort import Cohort
from medprior.dicom import Policy, read_image
from medprior.errors import InputMissing, MedpriorError, Rejected
from medprior.ingest.masks import as_turned, read_levels


def from_files(
    image: Path | str,
    masks: Mapping[str, Path | str],
    author: str = "",
    notes: str = "",
) -> Annotation:
    """An annotation of one DICOM, PNG or JPEG radiograph with PNG, TIFF, GIF or BMP masks.

    A mask is drawn on the stored pixels; it is turned with the picture where the file says that
    the picture is mirrored or upside down.

    Args:
        image: the radiograph.
        masks: structure -> mask file; levels above 127 count, or above 0 where none is above 127.
        author: who drew it, free text.
        notes: free text.

    Raises:
        Rejected: the radiograph cannot be used.
        MedpriorError: a mask cannot be read, or does not fit (see `check_masks`).
    """
    radiograph = read_image(readable(image, "--image"))
    turned = next((flag for flag in radiograph.flags if flag.startswith("orientation_")), "")
    drawn = {}
    for name, path in masks.items():
        try:
            levels = read_levels(readable(path, f"--mask {name}"), Policy())
        except Rejected as error:
            raise MedpriorError(
                f"the mask cannot be read ({error.code})",
                where=name,
                expected="a PNG, TIFF, GIF or BMP picture",
            ) from None
        drawn[name] = as_turned(levels > (127 if levels.max() > 127 else 0), turned)
    return Annotation(
        image=radiograph.pixels,
        masks=drawn,
        pixel_sha256=radiograph.pixel_sha256,
        spacing_mm=radiograph.spacing_mm,
        author=author,
        notes=notes,
    )


def readable(path: Path | str, what: str) -> Path:
    """The real file behind `path`, links followed: the user named it.

    Raises:
        InputMissing: there is no such file.
    """
    found = Path(path)
    if not found.is_file():
        # The path may hold a patient's name; the user has just typed it.
        raise InputMissing("no such file", where=what, fix="check the path")
    return found.resolve()


def from_cohort(cohort: Cohort, image_id: str, author: str = "", notes: str = "") -> Annotation:
    """An annotation from the masks that a cohort has of one of its images.

    Raises:
        InputMissing: no such image, or it has no mask.
    """
    pixels = cohort.pixels(image_id)
    found = {name: cohort.mask(image_id, name) for name in cohort.structures}
    masks = {name: mask for name, mask in found.items() if mask is not None and mask.any()}
    anatomy = {name: mask for name, mask in masks.items() if not is_finding(cohort, name)}
    if not anatomy:
        raise InputMissing(
            "this image has no mask in the cohort",
            where=f"image_id {image_id}",
            fix="use --image-id auto, or give masks with --mask",
        )
    row = cohort.manifest.iloc[int(np.flatnonzero(cohort.manifest.image_id == image_id)[0])]
    return Annotation(
        image=pixels,
        masks=anatomy,
        image_id=image_id,
        pixel_sha256=str(row.pixel_sha256),
        spacing_mm=stored_spacing(float(row.spacing_mm), int(row.rows), pixels.shape[0]),
        author=author,
        notes=notes,
    )


def is_finding(cohort: Cohort, structure: str) -> bool:
    """Whether a mask is that of a labelled disease, which no prior should expect everywhere."""
    return structure in cohort.label_names


def stored_spacing(spacing: float, rows: int, stored: int) -> tuple[float, float] | None:
    """Millimetres per stored pixel from those per source pixel."""
    side = spacing * rows / stored
    return (side, side) if np.isfinite(side) else None
