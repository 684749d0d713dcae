"""Make an annotation from mask files of other tools, or from masks of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.annotation import Annotation
from medprior.annotate.checks import check_masks
from medprior.annotate.confined_masks import ConfinedMaskReader
from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.mask_inputs import MaskInputs, read_mask_inputs, resolve_input_file
from medprior.annotate.picture_grids import PictureGrids
from medprior.dicom import Radiograph
from medprior.dicom.bounded_reader import BoundedReader
from medprior.errors import InputMissing, MedpriorError
from medprior.ingest.identity import load_existing_pseudonymizer

if TYPE_CHECKING:
    from medprior.cohort import Cohort

Mask = NDArray[np.bool_]


def annotate_from_files(
    image: Path | str,
    masks: Mapping[str, Path | str] | MaskInputs,
    author: str = "",
    notes: str = "",
    refused: Path | None = None,
) -> Annotation:
    """An annotation of one DICOM, PNG or JPEG radiograph with masks from other tools.

    Masks lie on the stored pixels and are reoriented with the image where its file says that it is
    mirrored or upside down. `medprior/annotate/FORMATS.md` lists the formats.

    Args:
        image: the radiograph.
        masks: structure -> mask file, or `MaskInputs` for a file with several structures.
        author: who annotated it, free text.
        notes: free text.
        refused: preview to write where the masks are readable but invalid.

    Raises:
        Rejected: the radiograph is unusable.
        MedpriorError: a mask cannot be read, or is invalid (see `check_masks`).
    """
    path = resolve_input_file(image, "--image")
    with BoundedReader() as bounded_reader:
        radiograph = bounded_reader.read(path)
    inputs = masks if isinstance(masks, MaskInputs) else MaskInputs(masks)
    grids = PictureGrids.from_file(radiograph)
    with ConfinedMaskReader(grids, Path(image).name, radiograph, read_dicom_masks, path, inputs.as_stored) as reader:
        structure_masks, warnings = read_mask_inputs(inputs, grids, reader)
    check_masks_or_preview(radiograph.pixels, structure_masks, refused)
    return Annotation(
        image=radiograph.pixels,
        masks=structure_masks,
        pixel_sha256=radiograph.pixel_sha256,
        spacing_mm=radiograph.spacing_mm,
        author=author,
        notes=notes,
        warnings=warnings,
    )


def annotate_cohort_image(
    cohort: Cohort, image_id: str, inputs: MaskInputs, author: str = "", notes: str = "", refused: Path | None = None
) -> Annotation:
    """An annotation of one image of a cohort with masks from other tools.

    Masks have the size of the image in the cohort, or that of its source file.

    Raises:
        InputMissing: the cohort has no such image.
        MedpriorError: a mask cannot be read, or is invalid (see `check_masks`).
    """
    grids = PictureGrids.from_cohort_image(cohort, image_id)
    pixels = cohort.pixels(image_id)
    row = cohort.select([image_id]).manifest.iloc[0]
    source = Radiograph(
        pixels=pixels,
        valid=np.ones(pixels.shape, dtype=bool),
        flags=tuple(str(row["flags"]).split("|")),
        stored_rows=int(row["rows"]),
        stored_cols=int(row["cols"]),
    )
    with ConfinedMaskReader(grids, image_id, source, read_dicom_masks, None, inputs.as_stored) as reader:
        masks, warnings = read_mask_inputs(inputs, grids, reader)
    check_masks_or_preview(pixels, masks, refused)
    return create_cohort_annotation(cohort, image_id, masks, author, notes, warnings)


def read_dicom_masks(path: Path, radiograph: Radiograph, image: Path | None, where: str) -> ImportedMasks:
    """Masks of a radiograph in a DICOM SEG or RTSTRUCT, in display orientation.

    `image` is the file of the radiograph, None for an image of a cohort, which has no position.
    """
    from medprior.annotate.rt_structures import is_structure_set, read_structure_set
    from medprior.dicom.derived.seg import read_segments
    from medprior.dicom.lung_sides import assign_lung_sides

    if is_structure_set(path):
        return read_structure_set(path, radiograph, image, where)
    masks, warnings = assign_lung_sides(read_segments(path, radiograph))
    return ImportedMasks(masks, is_upright=True, warnings=warnings)


def check_masks_or_preview(image: NDArray[np.float32], masks: Mapping[str, Mask], refused: Path | None) -> None:
    """Raise the MedpriorError of `check_masks`, after writing a preview of the masks to `refused`."""
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
    """An annotation from the masks of one image in a cohort.

    Raises:
        InputMissing: the cohort has no such image, or no mask of it.
    """
    cohort.pixels(image_id)
    stored_masks = {name: cohort.mask(image_id, name) for name in cohort.structures}
    masks = {name: mask for name, mask in stored_masks.items() if mask is not None and mask.any()}
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
    """An annotation of an image of a cohort, with masks on the grid of the image."""
    pixels = cohort.pixels(image_id)
    row = cohort.manifest.iloc[int(np.flatnonzero(cohort.manifest.image_id == image_id)[0])]
    return Annotation(
        image=pixels,
        masks=dict(masks),
        image_id=image_id,
        pixel_sha256=str(row.pixel_sha256),
        spacing_mm=compute_stored_spacing(float(row.spacing_mm), int(row.rows), pixels.shape[0]),
        author=author,
        notes=notes,
        warnings=warnings,
    )


def find_same_pixels(cohort: Cohort, annotation: Annotation) -> NDArray[np.bool_]:
    """Which images of the cohort have the stored pixels of the annotated picture: bool [N].

    Digests of private cohorts are keyed: the annotation of a file is found in them with the default identity key.
    """
    digests = {annotation.pixel_sha256} - {""}
    pseudonyms = load_existing_pseudonymizer()
    if pseudonyms is not None:
        digests |= {pseudonyms.key_digest(digest) for digest in digests}
    return np.asarray(cohort.manifest.pixel_sha256.isin(digests), dtype=bool)


def is_finding(cohort: Cohort, structure: str) -> bool:
    """Whether a mask shows a labelled finding, which no prior should expect in every image."""
    return structure in cohort.label_names


def compute_stored_spacing(spacing_mm: float, source_rows: int, stored_rows: int) -> tuple[float, float] | None:
    """Millimetres per stored pixel from those per source pixel."""
    side = spacing_mm * source_rows / stored_rows
    return (side, side) if np.isfinite(side) else None
