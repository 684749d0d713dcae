"""Where an annotation comes from: files drawn elsewhere, or masks a cohort already has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.annotation import Annotation
from medprior.annotate.checks import check_masks
from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.mask_inputs import AnnotationReader, MaskInputs, resolve_input_file
from medprior.annotate.picture_grids import PictureGrids
from medprior.cohort import Cohort
from medprior.dicom import Radiograph, read_image
from medprior.errors import InputMissing, MedpriorError

Mask = NDArray[np.bool_]


def annotate_from_files(
    image: Path | str,
    masks: Mapping[str, Path | str] | MaskInputs,
    author: str = "",
    notes: str = "",
    refused: Path | None = None,
) -> Annotation:
    """An annotation of one DICOM, PNG or JPEG radiograph with what was drawn elsewhere.

    A mask is drawn on the stored pixels; it is turned with the picture where the file says that
    the picture is mirrored or upside down. The formats are those of the room's README.

    Args:
        image: the radiograph.
        masks: structure -> mask file, or a `Given` for a file with several structures.
        author: who drew it, free text.
        notes: free text.
        refused: picture to write where the masks can be read but cannot be right.

    Raises:
        Rejected: the radiograph cannot be used.
        MedpriorError: a mask cannot be read, or does not fit (see `check_masks`).
    """
    path = resolve_input_file(image, "--image")
    radiograph = read_image(path)
    given = masks if isinstance(masks, MaskInputs) else MaskInputs(masks)
    reader = AnnotationReader(
        PictureGrids.from_file(radiograph),
        Path(image).name,
        lambda file, where: read_dicom_masks(file, radiograph, path, where),
        given.as_stored,
    )
    drawn, warnings = reader.everything(given)
    check_masks_or_preview(radiograph.pixels, drawn, refused)
    return Annotation(
        image=radiograph.pixels,
        masks=drawn,
        pixel_sha256=radiograph.pixel_sha256,
        spacing_mm=radiograph.spacing_mm,
        author=author,
        notes=notes,
        warnings=warnings,
    )


def annotate_cohort_image(
    cohort: Cohort,
    image_id: str,
    given: MaskInputs,
    author: str = "",
    notes: str = "",
    refused: Path | None = None,
) -> Annotation:
    """An annotation of one image of a cohort with what was drawn elsewhere.

    Masks have the size that the cohort keeps, or that of the source file.

    Raises:
        InputMissing: no such image.
        MedpriorError: a mask cannot be read, or does not fit (see `check_masks`).
    """
    frame = PictureGrids.from_cohort_image(cohort, image_id)
    pixels = cohort.pixels(image_id)
    row = cohort.select([image_id]).manifest.iloc[0]
    source = Radiograph(
        pixels=pixels,
        valid=np.ones(pixels.shape, dtype=bool),
        flags=tuple(str(row["flags"]).split("|")),
        stored_rows=int(row["rows"]),
        stored_cols=int(row["cols"]),
    )
    reader = AnnotationReader(
        frame,
        image_id,
        lambda file, where: read_dicom_masks(file, source, None, where),
        given.as_stored,
    )
    drawn, warnings = reader.everything(given)
    check_masks_or_preview(pixels, drawn, refused)
    return create_cohort_annotation(cohort, image_id, drawn, author, notes, warnings)


def read_dicom_masks(path: Path, radiograph: Radiograph, image: Path | None, where: str) -> ImportedMasks:
    """What a DICOM SEG or RTSTRUCT holds of a radiograph, the way round that it is shown.

    `image` is the radiograph's own file, None for a cohort's, which keeps no position.
    """
    from medprior.annotate.rt_structures import is_structure_set, read_structure_set
    from medprior.dicom.derived.seg import read_segments
    from medprior.dicom.lung_sides import assign_lung_sides

    if is_structure_set(path):
        return read_structure_set(path, radiograph, image, where)
    masks, warnings = assign_lung_sides(read_segments(path, radiograph))
    return ImportedMasks(masks, turned=True, warnings=warnings)


def check_masks_or_preview(image: NDArray[np.float32], masks: Mapping[str, Mask], refused: Path | None) -> None:
    """Refuse masks that cannot be right, and leave a picture of them at `refused`."""
    from medprior.annotate.preview import save_mask_preview

    shape = (image.shape[0], image.shape[1])
    try:
        check_masks(shape, masks)
    except MedpriorError as error:
        if refused is None or not masks or any(mask.shape != shape for mask in masks.values()):
            raise
        save_mask_preview(image, masks, refused)
        raise MedpriorError(
            error.what, where=error.where, expected=error.expected, found=error.found,
            fix=f"{error.fix}; see {refused.name} in the folder given",
        ) from None  # fmt: skip


def annotate_from_cohort(cohort: Cohort, image_id: str, author: str = "", notes: str = "") -> Annotation:
    """An annotation from the masks that a cohort has of one of its images.

    Raises:
        InputMissing: no such image, or it has no mask.
    """
    cohort.pixels(image_id)
    found = {name: cohort.mask(image_id, name) for name in cohort.structures}
    masks = {name: mask for name, mask in found.items() if mask is not None and mask.any()}
    anatomy = {name: mask for name, mask in masks.items() if not is_finding(cohort, name)}
    if not anatomy:
        raise InputMissing(
            "this image has no mask in the cohort",
            where=f"image_id {image_id}",
            fix="use --image-id auto, give masks with --mask or --annotations, or draw with --page",
        )
    return create_cohort_annotation(cohort, image_id, anatomy, author, notes)


def create_cohort_annotation(
    cohort: Cohort,
    image_id: str,
    masks: Mapping[str, Mask],
    author: str = "",
    notes: str = "",
    warnings: tuple[str, ...] = (),
) -> Annotation:
    """An annotation of a cohort's image with masks on its own grid."""
    pixels = cohort.pixels(image_id)
    row = cohort.manifest.iloc[int(np.flatnonzero(cohort.manifest.image_id == image_id)[0])]
    return Annotation(
        image=pixels,
        masks=dict(masks),
        image_id=image_id,
        pixel_sha256=str(row.pixel_sha256),
        spacing_mm=stored_spacing(float(row.spacing_mm), int(row.rows), pixels.shape[0]),
        author=author,
        notes=notes,
        warnings=warnings,
    )


def is_finding(cohort: Cohort, structure: str) -> bool:
    """Whether a mask is that of a labelled disease, which no prior should expect everywhere."""
    return structure in cohort.label_names


def stored_spacing(spacing: float, rows: int, stored: int) -> tuple[float, float] | None:
    """Millimetres per stored pixel from those per source pixel."""
    side = spacing * rows / stored
    return (side, side) if np.isfinite(side) else None
