"""The files a user gives for one picture, read onto its grid and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    """What a user gives.

    Attributes:
        masks: structure -> file with that structure alone.
        annotations: one file with all structures, or None.
        names: what `annotations` calls a structure -> its name here.
        as_stored: take NIfTI and NRRD in the order of their pixels, whatever their directions.
    """

    masks: Mapping[str, Path | str] = field(default_factory=dict)
    annotations: Path | str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    as_stored: bool = False

    def __bool__(self) -> bool:
        return bool(self.masks) or self.annotations is not None


@dataclass(frozen=True)
class AnnotationReader:
    """Reads drawings of one picture.

    Attributes:
        frame: the picture's grids.
        picture: its file name or image id, to find it in a COCO file.
        dicom: reads a DICOM SEG or RTSTRUCT of the picture, named by an argument for errors.
        as_stored: see `Given`.
    """

    frame: PictureGrids
    picture: str
    dicom: DicomReader
    as_stored: bool = False

    def everything(self, given: MaskInputs) -> tuple[dict[str, Mask], tuple[str, ...]]:
        """All masks on the picture's grid, and warnings.

        Raises:
            Rejected, MedpriorError: a file cannot be used; a structure is given twice.
        """
        found: dict[str, Mask] = {}
        warnings: tuple[str, ...] = ()
        for name, path in given.masks.items():
            drawing = self.single(resolve_input_file(path, f"--mask {name}"), name)
            found[name] = self.frame.to_picture_grid(name, drawing.masks[name], drawing.turned)
            warnings += drawing.warnings
        if given.annotations is not None:
            drawing = self.drawing(resolve_input_file(given.annotations, "--annotations"), "--annotations")
            parts, said = rename_structures(drawing.masks, given.names)
            for name, masks in parts.items():
                if name in found:
                    raise MedpriorError("given twice", where=name, expected="each structure once")
                whole = np.logical_or.reduce(masks)
                found[name] = self.frame.to_picture_grid(name, whole, drawing.turned)
            warnings += (*drawing.warnings, *said)
        return found, tuple(dict.fromkeys(warnings))

    def drawing(self, path: Path, where: str) -> ImportedMasks:
        """All that one file holds of the picture."""
        from medprior.annotate.rasters import read_raster_masks
        from medprior.annotate.volumes import read_volume_masks

        try:
            kind = detect_mask_format(path, where)
            if kind == "picture":
                return read_raster_masks(path, where)
            if kind in {"nifti", "nrrd"}:
                return read_volume_masks(path, kind, self.frame.drawn, self.as_stored, where)
            if kind == "dicom":
                return self.dicom(path, where)
            return self.from_json(path, where)
        except Rejected as error:
            raise MedpriorError(f"the file cannot be read ({error.code})", where=where, fix=error.fix) from None

    def from_json(self, path: Path, where: str) -> ImportedMasks:
        """A LabelMe or COCO file."""
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

    def single(self, path: Path, name: str) -> ImportedMasks:
        """The one structure of a file, by the name the user gave."""
        where = f"--mask {name}"
        if is_picture_file(path, where):
            return ImportedMasks({name: read_picture_mask(path, where)})
        drawing = self.drawing(path, where)
        parts, _ = rename_structures(drawing.masks, {label: name for label in drawing.masks if label.isdigit()})
        chosen = parts.get(name) or (next(iter(parts.values())) if len(parts) == 1 else [])
        if len(chosen) != 1:
            raise MedpriorError(
                "the file holds several structures",
                where=where,
                expected="one structure",
                found=", ".join(sorted(drawing.masks)),
                fix="give the file with --annotations FILE, and names with --names",
            )
        return ImportedMasks({name: chosen[0]}, drawing.turned, drawing.warnings)


def is_picture_file(path: Path, where: str) -> bool:
    """Whether a file is PNG, TIFF, GIF, BMP or JPEG."""
    try:
        return detect_mask_format(path, where) == "picture"
    except Rejected as error:
        raise MedpriorError(f"the mask cannot be read ({error.code})", where=where) from None


def read_picture_mask(path: Path, where: str) -> Mask:
    """A mask picture: above half of white is inside, or above 0 where nothing is above half.

    Raises:
        MedpriorError: it cannot be read, or numbers several structures.
    """
    try:
        levels = read_mask_levels(path, Policy())
    except Rejected as error:
        raise MedpriorError(
            f"the mask cannot be read ({error.code})",
            where=where,
            expected="a PNG, TIFF, GIF or BMP picture of the radiograph's size",
        ) from None
    top = int(levels.max())
    labels = np.unique(levels[levels > 0])
    if top <= 127 and len(labels) > 1:
        raise MedpriorError(
            "the picture numbers several structures",
            where=where,
            expected="the structure at 255 (or 1) and the rest at 0",
            found=f"{len(labels)} values above 0",
            fix="give it with --annotations FILE --names 1=left_lung,2=right_lung",
        )
    return levels > (127 if top > 127 else 0)


def resolve_input_file(path: Path | str, what: str) -> Path:
    """The real file behind `path`, links followed: the user named it.

    Raises:
        InputMissing: there is no such file.
    """
    found = Path(path)
    if not found.is_file():
        # The path may hold a patient's name; the user has just typed it.
        raise InputMissing("no such file", where=what, fix="check the path")
    return found.resolve()
