"""Masks imported from another tool, and detection of their file format."""

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
    """Masks of one image.

    Shape:
        masks: label number or name -> bool [rows, cols], all of the same size.

    Attributes:
        is_upright: whether the masks have display orientation; otherwise that of the stored pixels.
        warnings: about the file.
    """

    masks: Mapping[str, Mask] = field(repr=False)
    is_upright: bool = False
    warnings: tuple[str, ...] = ()


def detect_mask_format(path: Path, where: str) -> str:
    """Format of a file from its content: `picture`, `nifti`, `nrrd`, `dicom` or `json`.

    Raises:
        MedpriorError: the format is none of them.
        Rejected: it cannot be opened safely.
    """
    with open_regular_file(path, Policy()) as (stream, _):
        header = stream.read(512)
    if header.startswith(b"\x1f\x8b"):
        header = read_gzip_head(path)
    if header.startswith(PICTURE_SIGNATURES):
        return "picture"
    if header.startswith(b"NRRD0"):
        return "nrrd"
    if header[344:347] in (b"n+1", b"ni1") or header[4:8] == b"n+2\0":
        return "nifti"
    if detect_file_type(header) in {"dicom", "bare_dicom"}:
        return "dicom"
    if header.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return "json"
    raise MedpriorError(
        "the file's format is not known",
        where=where,
        expected=ANNOTATION_FORMATS,
        fix="export it from your tool in one of these formats",
    )


def read_gzip_head(path: Path, count: int = 512) -> bytes:
    """The first decompressed bytes of a gzip file; empty where it is invalid."""
    try:
        with open_regular_file(path, Policy()) as (stream, _), gzip.GzipFile(fileobj=stream) as content:
            return content.read(count)
    except (OSError, EOFError, zlib.error):
        return b""
