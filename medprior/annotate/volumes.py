"""NIfTI and NRRD masks of one slice, as 3D Slicer, ITK-SNAP and others write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.orientation import orient_slice
from medprior.annotate.rasters import split_labels
from medprior.dicom import Policy
from medprior.errors import MedpriorError

MAX_NRRD_HEADER_BYTES = 65536


def read_volume_masks(path: Path, kind: str, drawn: tuple[int, int], as_stored: bool, where: str) -> ImportedMasks:
    """The structures of a one-slice volume, by name where the file names them.

    Args:
        path: a `.nii`, `.nii.gz`, `.nrrd` or `.seg.nrrd` file.
        kind: `nifti` or `nrrd`.
        drawn: rows and columns of the picture, for a file that holds only a part of it.
        as_stored: ignore the file's directions: first axis columns, second axis rows.
        where: the argument, for errors.

    Raises:
        MedpriorError: it cannot be read, or is no single slice of labels.
    """
    layers, facts, directions = read_volume_layers(path, kind, where)
    whole = [pad_to_picture(layer, facts, drawn) for layer in layers]
    slices = [orient_slice(layer, directions, as_stored, where) for layer in whole]
    segments, masks = parse_segment_names(facts), dict[str, NDArray[np.bool_]]()
    for number, one in enumerate(slices):
        labels = split_labels(one.levels, where) if one.levels.any() else {}
        for label, mask in labels.items():
            masks[segments.get((number, int(label)), label)] = mask
    if not masks:
        split_labels(slices[0].levels, where)
    return ImportedMasks(masks, slices[0].turned, slices[0].warnings)


def read_volume_layers(
    path: Path, kind: str, where: str
) -> tuple[list[NDArray[Any]], dict[str, str], NDArray[np.float64] | None]:
    """Arrays in index order [i, j(, k)], the header's text, and directions or None if unknown."""
    import SimpleITK

    sitk: Any = SimpleITK
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO" if kind == "nifti" else "NrrdImageIO")
    reader.SetFileName(str(path))
    if kind == "nrrd":
        check_attached_data(path, where)
    try:
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        reader.ReadImageInformation()
        count = int(np.prod(reader.GetSize(), dtype=np.float64)) * reader.GetNumberOfComponents()
        if count > Policy().max_pixels:
            raise MedpriorError("the volume is too large", where=where, expected="one slice")
        image = reader.Execute()
    except RuntimeError:
        # ITK's messages hold the path.
        raise MedpriorError(
            "the volume cannot be read",
            where=where,
            expected="a whole NIfTI (.nii, .nii.gz) or NRRD (.nrrd, .seg.nrrd) file",
        ) from None
    facts = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    array = sitk.GetArrayFromImage(image)
    stacked = array[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else array
    layers = [np.transpose(stacked[..., c]) for c in range(stacked.shape[-1])]
    side = image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(side, side)
    origin = np.array(image.GetOrigin())
    return layers, facts, directions if has_known_directions(kind, facts, directions, origin) else None


def has_known_directions(
    kind: str, facts: dict[str, str], directions: NDArray[np.float64], origin: NDArray[np.float64]
) -> bool:
    """Whether a file's directions mean anything.

    A NIfTI affine that is a positive diagonal without an offset is what scripts write who do not
    think of directions; it is taken as unknown (our choice).
    """
    if kind == "nrrd":
        return bool(facts.get("NRRD_space"))
    codes = [facts.get(key, "0") for key in ("qform_code", "sform_code")]
    # NIfTI counts to the right, to the front and up; ITK turns the first two round.
    ras = np.diag([-1.0, -1.0, *[1.0] * (len(directions) - 2)]) @ directions
    careless = bool(np.allclose(ras, np.eye(len(ras)), atol=1e-6) and not origin.any())
    return any(re.fullmatch(r"\s*0*[1-9]\d*\s*", code) for code in codes) and not careless


def check_attached_data(path: Path, where: str) -> None:
    """MedpriorError where an NRRD header points to another file: only what was named is read."""
    with path.open("rb") as file:
        head = re.split(rb"\r?\n\r?\n", file.read(MAX_NRRD_HEADER_BYTES), maxsplit=1)[0]
    if re.search(rb"(?im)^data ?file\s*:", head):
        raise MedpriorError(
            "the header points to another file",
            where=where,
            expected="header and data in one .nrrd file",
            fix="save it again as one file",
        )


def parse_segment_names(facts: dict[str, str]) -> dict[tuple[int, int], str]:
    """(layer, label value) -> segment name, from a 3D Slicer `.seg.nrrd` header."""
    found = {}
    for key, name in facts.items():
        match = re.fullmatch(r"Segment(\d+)_Name", key)
        if match and name.strip():
            stem = f"Segment{match[1]}"
            layer = parse_whole_number(facts.get(f"{stem}_Layer"), 0)
            value = parse_whole_number(facts.get(f"{stem}_LabelValue"), int(match[1]) + 1)
            found[layer, value] = name.strip()
    return found


def parse_whole_number(text: str | None, default: int) -> int:
    """A whole number in a header, or the default."""
    return int(text) if text is not None and text.strip().isdigit() else default


def pad_to_picture(layer: NDArray[Any], facts: dict[str, str], drawn: tuple[int, int]) -> NDArray[Any]:
    """The layer at the size of its picture, where 3D Slicer saved only the part drawn on.

    Args:
        layer: [i, j, k].
        facts: the header's text.
        drawn: rows and columns of the picture.
    """
    offset = facts.get("Segmentation_ReferenceImageExtentOffset", "").split()
    numbers = [int(part) for part in offset if part.isdigit()]
    if len(numbers) != 3 or layer.ndim != 3:
        return layer
    sides = (drawn[1], drawn[0], numbers[2] + layer.shape[2])
    after = [side - at - own for side, at, own in zip(sides, numbers, layer.shape, strict=True)]
    if min(after) < 0 or layer.shape[:2] == sides[:2]:
        return layer
    edges = list(zip([*numbers[:2], 0], [*after[:2], 0], strict=True))
    return np.pad(layer, edges)
