"""Read the mask files of one image onto its grid, under their structure names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.imported_masks import ImportedMasks, detect_mask_format
from medprior.annotate.naming import rename_structures
from medprior.annotate.picture_grids import PictureGrids
from medprior.dicom import Policy
from medprior.dicom.file_opening import open_regular_file
from medprior.errors import InputMissing, MedpriorError, Rejected
from medprior.ingest.masks import read_mask_levels

Mask = NDArray[np.bool_]
DicomReader = Callable[[Path, str], ImportedMasks]


@dataclass(frozen=True)
class MaskInputs:
    """Mask files of one image.

    Attributes:
        masks: structure -> file with only that structure.
        annotations: one file with all structures, or None.
        names: label in `annotations` -> structure.
        as_stored: ignore the directions of NIfTI and NRRD files.
    """

    masks: Mapping[str, Path | str] = field(default_factory=dict)
    annotations: Path | str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    as_stored: bool = False

    def __bool__(self) -> bool:
        return bool(self.masks) or self.annotations is not None


@dataclass(frozen=True)
class MaskFileReader:
    """Reads mask files of one image.

    Attributes:
        grids: grids of the image.
        picture: its file name or image id, which selects its entry in a COCO file.
        read_dicom: reads a DICOM SEG or RTSTRUCT; its second argument names it in errors.
        as_stored: see `MaskInputs`.
        volume_link: see `read_volume_masks`.
    """

    grids: PictureGrids
    picture: str
    read_dicom: DicomReader
    as_stored: bool = False
    volume_link: Path | None = None

    def read_file(self, path: Path, where: str) -> ImportedMasks:
        """All masks of the image in one file."""
        from medprior.annotate.rasters import read_raster_masks
        from medprior.annotate.volumes import read_volume_masks

        try:
            kind = detect_mask_format(path, where)
            if kind == "picture":
                return read_raster_masks(path, where)
            if kind in {"nifti", "nrrd"}:
                shape = self.grids.default_shape
                return read_volume_masks(path, kind, shape, self.as_stored, where, self.volume_link)
            if kind == "dicom":
                return self.read_dicom(path, where)
            return self.read_json(path, where)
        except Rejected as error:
            raise MedpriorError(f"the file cannot be read ({error.code})", where=where, fix=error.fix) from None

    def read_json(self, path: Path, where: str) -> ImportedMasks:
        """All masks of the image in a LabelMe or COCO file."""
        from medprior.annotate.coco import parse_coco_masks
        from medprior.annotate.labelme import parse_labelme_masks

        with open_regular_file(path, Policy()) as (stream, _):
            data = stream.read()
        try:
            record = json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and isinstance(record.get("shapes"), list):
            return parse_labelme_masks(record, where)
        if isinstance(record, dict) and isinstance(record.get("annotations"), list):
            return parse_coco_masks(record, self.picture, where)
        raise MedpriorError(
            "neither LabelMe nor COCO JSON", where=where,
            expected="an object with `shapes`, or with `images` and `annotations`",
        )  # fmt: skip

    def read_single(self, path: Path, name: str) -> ImportedMasks:
        """The only structure of a file, under the name that the user gave."""
        where = f"--mask {name}"
        if is_picture_file(path, where):
            return ImportedMasks({name: read_picture_mask(path, where)})
        imported = self.read_file(path, where)
        structures, _ = rename_structures(imported.masks, {label: name for label in imported.masks if label.isdigit()})
        candidates = structures.get(name) or (next(iter(structures.values())) if len(structures) == 1 else [])
        if len(candidates) != 1:
            raise MedpriorError(
                "the file holds several structures",
                where=where,
                expected="one structure",
                found=", ".join(sorted(imported.masks)),
                fix="give the file with --annotations FILE, and names with --names",
            )
        return ImportedMasks({name: candidates[0]}, imported.is_upright, imported.warnings)


class SingleImageReader(Protocol):
    """Reads mask files of one image."""

    def read_file(self, path: Path, where: str) -> ImportedMasks:
        """All masks of the image in one file."""

    def read_single(self, path: Path, name: str) -> ImportedMasks:
        """The only structure of a file, under the name that the user gave."""


def read_mask_inputs(
    inputs: MaskInputs, grids: PictureGrids, reader: SingleImageReader
) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """All masks on the grid of an image, and warnings.

    Raises:
        Rejected, MedpriorError: a file is unusable, or a structure is given twice.
    """
    masks_by_name: dict[str, Mask] = {}
    warnings: tuple[str, ...] = ()
    for name, path in inputs.masks.items():
        imported = reader.read_single(resolve_input_file(path, f"--mask {name}"), name)
        masks_by_name[name] = grids.to_picture_grid(name, imported.masks[name], imported.is_upright)
        warnings += imported.warnings
    if inputs.annotations is not None:
        imported = reader.read_file(resolve_input_file(inputs.annotations, "--annotations"), "--annotations")
        structures, rename_warnings = rename_structures(imported.masks, inputs.names)
        for name, masks in structures.items():
            if name in masks_by_name:
                raise MedpriorError("given twice", where=name, expected="each structure once")
            union = np.logical_or.reduce(masks)
            masks_by_name[name] = grids.to_picture_grid(name, union, imported.is_upright)
        warnings += (*imported.warnings, *rename_warnings)
    return masks_by_name, tuple(dict.fromkeys(warnings))


def is_picture_file(path: Path, where: str) -> bool:
    """Whether a file is a PNG, TIFF, GIF, BMP or JPEG image."""
    try:
        return detect_mask_format(path, where) == "picture"
    except Rejected as error:
        raise MedpriorError(f"the mask cannot be read ({error.code})", where=where) from None


def read_picture_mask(path: Path, where: str) -> Mask:
    """The mask in an image file: values above 127 are inside, or above 0 where none exceeds 127.

    Raises:
        MedpriorError: the file cannot be read, or holds several labels.
    """
    try:
        levels = read_mask_levels(path, Policy())
    except Rejected as error:
        raise MedpriorError(
            f"the mask cannot be read ({error.code})",
            where=where,
            expected="a PNG, TIFF, GIF or BMP picture of the radiograph's size",
        ) from None
    maximum = int(levels.max())
    labels = np.unique(levels[levels > 0])
    if maximum <= 127 and len(labels) > 1:
        raise MedpriorError(
            "the picture numbers several structures",
            where=where,
            expected="the structure at 255 (or 1) and the rest at 0",
            found=f"{len(labels)} values above 0",
            fix="give it with --annotations FILE --names 1=left_lung,2=right_lung",
        )
    return levels > (127 if maximum > 127 else 0)


def resolve_input_file(path: Path | str, where: str) -> Path:
    """The real file behind `path`, with links followed because the user named it.

    Raises:
        InputMissing: the file does not exist.
    """
    file = Path(path)
    if not file.is_file():
        # The path may hold a patient's name, so the message leaves it out.
        raise InputMissing("no such file", where=where, fix="check the path")
    return file.resolve()
