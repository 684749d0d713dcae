"""What was drawn in another tool: structures and masks out of one file, whatever its format."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy
from medprior.dicom.file_opening import detect_file_type, open_regular_file
from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]
ANNOTATION_FORMATS = "PNG, TIFF, NIfTI, NRRD, DICOM SEG or RTSTRUCT, LabelMe JSON or COCO JSON"
PICTURE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class ImportedMasks:
    """Masks of one picture.

    Shape:
        masks: label number or name -> bool [rows, cols], all of one size.

    Attributes:
        turned: the masks are the way round that the picture is shown, not as it is stored.
        warnings: what was odd about the file.
    """

    masks: Mapping[str, Mask] = field(repr=False)
    turned: bool = False
    warnings: tuple[str, ...] = ()


def detect_mask_format(path: Path, where: str) -> str:
    """A file's format by its content: `picture`, `nifti`, `nrrd`, `dicom` or `json`.

    Raises:
        MedpriorError: it is none of them.
        Rejected: it cannot be opened safely.
    """
    with open_regular_file(path, Policy()) as (stream, _):
        head = stream.read(512)
    if head.startswith(b"\x1f\x8b"):
        head = read_gzip_head(path)
    if head.startswith(PICTURE_SIGNATURES):
        return "picture"
    if head.startswith(b"NRRD0"):
        return "nrrd"
    if head[344:347] in (b"n+1", b"ni1") or head[4:8] == b"n+2\0":
        return "nifti"
    if detect_file_type(head) in {"dicom", "bare_dicom"}:
        return "dicom"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return "json"
    raise MedpriorError(
        "the file's format is not known",
        where=where,
        expected=ANNOTATION_FORMATS,
        fix="export it from your tool in one of these formats",
    )


def read_gzip_head(path: Path, count: int = 512) -> bytes:
    """The first bytes of what a gzip file holds; none where it is broken."""
    try:
        with gzip.open(path) as stream:
            return stream.read(count)
    except (OSError, EOFError, zlib.error):
        return b""
