"""Read masks of one slice from NIfTI and NRRD, as 3D Slicer, ITK-SNAP and others write them."""

from __future__ import annotations

import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.orientation import orient_slice
from medprior.annotate.rasters import split_labels
from medprior.dicom import Policy
from medprior.dicom.decoding.decoders import fill_scratch_file, open_scratch_file
from medprior.dicom.file_opening import open_regular_file
from medprior.errors import MedpriorError

MAX_NRRD_HEADER_BYTES = 2**20
GZIP_SIGNATURE = b"\x1f\x8b"
CHUNK_BYTES = 2**20
# Eight bytes for each value, and a header.
MAX_VOLUME_BYTES = 8 * Policy().max_pixels + 2**20
# The reader of NRRD takes a carriage return alone for the end of a line, too.
DETACHED_DATA = re.compile(rb"(?i)(?:^|\r)[ \t]*data ?file[ \t]*:")


def read_volume_masks(
    path: Path, kind: str, shape: tuple[int, int], as_stored: bool, where: str, link: Path | None = None
) -> ImportedMasks:
    """Masks in a volume of one slice, by name where the file has names.

    Args:
        path: a `.nii`, `.nii.gz`, `.nrrd` or `.seg.nrrd` file.
        kind: `nifti` or `nrrd`.
        shape: rows and columns of the image, for a file that covers only a part of it.
        as_stored: ignore directions and use the first axis as columns, the second as rows.
        where: name of the argument, for errors.
        link: of `link_scratch_file`; None makes one, which a confined process cannot.

    Raises:
        MedpriorError: the file cannot be read, or is no single slice of labels.
    """
    layers, metadata, directions = read_volume_layers(path, kind, where, link)
    padded = [pad_to_picture(layer, metadata, shape) for layer in layers]
    slices = [orient_slice(layer, directions, as_stored, where) for layer in padded]
    segments, masks = parse_segment_names(metadata), dict[str, NDArray[np.bool_]]()
    for number, oriented in enumerate(slices):
        labels = split_labels(oriented.levels, where) if oriented.levels.any() else {}
        for label, mask in labels.items():
            masks[segments.get((number, int(label)), label)] = mask
    if not masks:
        split_labels(slices[0].levels, where)
    return ImportedMasks(masks, slices[0].is_upright, slices[0].warnings)


def read_volume_layers(
    path: Path, kind: str, where: str, link: Path | None
) -> tuple[list[NDArray[Any]], dict[str, str], NDArray[np.float64] | None]:
    """Arrays in index order [i, j(, k)], header fields, and directions or None where unknown."""
    import SimpleITK

    sitk: Any = SimpleITK
    if kind == "nrrd":
        check_attached_data(path, where)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO" if kind == "nifti" else "NrrdImageIO")
    try:
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        with expose_volume(read_volume_file(path, kind, where), link) as name:
            reader.SetFileName(str(name))
            reader.ReadImageInformation()
            count = int(np.prod(reader.GetSize(), dtype=np.float64)) * reader.GetNumberOfComponents()
            if count > Policy().max_pixels:
                raise MedpriorError("the volume is too large", where=where, expected="one slice")
            image = reader.Execute()
    except (RuntimeError, OSError, EOFError, zlib.error):
        # ITK's messages contain the path.
        raise MedpriorError(
            "the volume cannot be read",
            where=where,
            expected="a whole NIfTI (.nii, .nii.gz) or NRRD (.nrrd, .seg.nrrd) file",
        ) from None
    metadata = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    array = sitk.GetArrayFromImage(image)
    stacked = array[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else array
    layers = [np.transpose(stacked[..., c]) for c in range(stacked.shape[-1])]
    dimensions = image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(dimensions, dimensions)
    origin = np.array(image.GetOrigin())
    return layers, metadata, directions if has_known_directions(kind, metadata, directions, origin) else None


def read_volume_file(path: Path, kind: str, where: str) -> bytes | bytearray:
    """The bytes of a file; those of a `.nii.gz` file decompressed."""
    with open_regular_file(path, Policy()) as (stream, _):
        is_compressed = kind == "nifti" and stream.read(len(GZIP_SIGNATURE)) == GZIP_SIGNATURE
        stream.seek(0)
        if not is_compressed:
            return stream.read()
        data = bytearray()
        with gzip.GzipFile(fileobj=stream) as content:
            # `read(n)` would take n bytes of memory at once.
            while chunk := content.read(CHUNK_BYTES):
                data += chunk
                if len(data) > MAX_VOLUME_BYTES:
                    raise MedpriorError("the volume is too large", where=where, expected="one slice")
    return data


@contextmanager
def expose_volume(data: bytes | bytearray, link: Path | None) -> Iterator[Path]:
    """A path from which ITK, which reads files only, reads `data`; they stay in memory."""
    with ExitStack() as stack:
        if link is None:
            link = link_scratch_file(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.enter_context(fill_scratch_file(lambda file: file.write(data)))
        yield link


def link_scratch_file(folder: Path) -> Path:
    """Name the scratch file of this process in `folder`: ITK reads NIfTI from a name that ends in `.nii` only."""
    link = folder / "volume.nii"
    link.symlink_to(f"/proc/self/fd/{open_scratch_file(os.getpid())}")
    return link


def has_known_directions(
    kind: str, metadata: dict[str, str], directions: NDArray[np.float64], origin: NDArray[np.float64]
) -> bool:
    """Whether the directions of a file are meaningful.

    A NIfTI affine that is a positive diagonal without offset is the default of scripts and counts
    as unknown (our choice).
    """
    if kind == "nrrd":
        return bool(metadata.get("NRRD_space"))
    codes = [metadata.get(key, "0") for key in ("qform_code", "sform_code")]
    # NIfTI axes point right, anterior and superior (RAS); ITK negates the first two (LPS).
    ras = np.diag([-1.0, -1.0, *[1.0] * (len(directions) - 2)]) @ directions
    is_default = bool(np.allclose(ras, np.eye(len(ras)), atol=1e-6) and not origin.any())
    return any(re.fullmatch(r"\s*0*[1-9]\d*\s*", code) for code in codes) and not is_default


def check_attached_data(path: Path, where: str) -> None:
    """Refuse an NRRD file whose header refers to another file, which is never read, or is longer than 1 MiB.

    Raises:
        MedpriorError: it does, anywhere in its header.
    """
    header_bytes = 0
    with open_regular_file(path, Policy()) as (file, _):
        while (line := file.readline(MAX_NRRD_HEADER_BYTES)) not in {b"", b"\n", b"\r\n"}:
            header_bytes += len(line)
            if header_bytes > MAX_NRRD_HEADER_BYTES:
                raise MedpriorError("the header is too long", where=where, expected="1 MiB at most")
            if DETACHED_DATA.search(line):
                raise MedpriorError(
                    "the header points to another file",
                    where=where,
                    expected="header and data in one .nrrd file",
                    fix="save it again as one file",
                )


def parse_segment_names(metadata: dict[str, str]) -> dict[tuple[int, int], str]:
    """(layer, label value) -> segment name, from a 3D Slicer `.seg.nrrd` header."""
    names = {}
    for key, name in metadata.items():
        match = re.fullmatch(r"Segment(\d+)_Name", key)
        if match and name.strip():
            stem = f"Segment{match[1]}"
            layer = parse_whole_number(metadata.get(f"{stem}_Layer"), 0)
            value = parse_whole_number(metadata.get(f"{stem}_LabelValue"), int(match[1]) + 1)
            names[layer, value] = name.strip()
    return names


def parse_whole_number(text: str | None, default: int) -> int:
    """The whole number in a header field, or the default."""
    return int(text) if text is not None and text.strip().isdigit() else default


def pad_to_picture(layer: NDArray[Any], metadata: dict[str, str], shape: tuple[int, int]) -> NDArray[Any]:
    """The layer padded to the size of its image, where 3D Slicer saved only the segmented part.

    Args:
        layer: [i, j, k].
        metadata: header fields.
        shape: rows and columns of the image.
    """
    offset = metadata.get("Segmentation_ReferenceImageExtentOffset", "").split()
    starts = [int(text) for text in offset if text.isdigit()]
    if len(starts) != 3 or layer.ndim != 3:
        return layer
    sides = (shape[1], shape[0], starts[2] + layer.shape[2])
    after = [side - start - length for side, start, length in zip(sides, starts, layer.shape, strict=True)]
    if min(after) < 0 or layer.shape[:2] == sides[:2]:
        return layer
    widths = list(zip([*starts[:2], 0], [*after[:2], 0], strict=True))
    return np.pad(layer, widths)
