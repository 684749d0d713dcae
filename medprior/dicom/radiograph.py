"""The result of reading one file: a display-ready picture and its metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom.decoding.row_blocks import iter_row_blocks

WHITE_16_BIT = 65535
MAX_AGE_YEARS = 90.0
LOW_RANGE, RANGE_SAMPLE_PIXELS = 1 / 8, 2**18
RESEARCH_NOTE = "For research only. Not for diagnosis."  # on every picture and object made from one
FRONTAL_VIEWS = frozenset({"PA", "AP", "UNKNOWN"})  # a view that is not recorded counts as frontal (our choice)
ORIENTATION_FLAGS = ("orientation_mirrored", "orientation_rotated")


@dataclass(frozen=True)
class RawIdentifiers:
    """Raw identifiers of a file, from which keyed pseudonyms are made; never shown, never written.

    Attributes:
        patient: normalised issuer and patient id, empty where the file has no id.
        study: study instance UID.
        sop: SOP instance UID.
    """

    patient: str = field(default="", repr=False)
    study: str = field(default="", repr=False)
    sop: str = field(default="", repr=False)


@dataclass(frozen=True)
class Radiograph:
    """One display-ready radiograph.

    Shape:
        pixels: float32 [rows, cols] in [0, 1], square pixels, air dark and bone bright.
        valid: bool [rows, cols]; False in padding and outside the shutter, where pixels are 0.

    Attributes:
        view: PA, AP, LL, RL, LATERAL or UNKNOWN.
        sex: M, F, O or None.
        age: years, at most 90, or None.
        spacing_mm: (row, column) millimetres per pixel of `pixels`, or None.
        spacing_kind: calibrated, detector, estimated, film or none.
        polarity_inverted: the stored picture had low values bright.
        flags: what is unusual, as stable words (see CODES.md).
        pixel_sha256: of the decoded stored array and its shape.
        syntax: transfer syntax UID, or the raster format.
        identity: raw identifiers, masked in `repr`.
        stored_rows, stored_cols: size of the stored picture, 0 where unknown; see `NativeGrid`.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    view: str = "UNKNOWN"
    sex: str | None = None
    age: float | None = None
    spacing_mm: tuple[float, float] | None = None
    spacing_kind: str = "none"
    polarity_inverted: bool = False
    flags: tuple[str, ...] = ()
    pixel_sha256: str = ""
    syntax: str = ""
    identity: RawIdentifiers = RawIdentifiers()
    stored_rows: int = 0
    stored_cols: int = 0


def find_low_range(pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[str, ...]:
    """Flag `low_range` where the picture uses less than an eighth of the range from black to white.

    The range is that between the 1st and 99th percentile of a sample of the valid pixels, so that a white
    marker does not hide a grey picture. Both limits are our choice.

    Shape:
        pixels, valid: float32 and bool [rows, cols].
    """
    step = max(1, round((pixels.size / RANGE_SAMPLE_PIXELS) ** 0.5))
    sample = pixels[::step, ::step][valid[::step, ::step]]
    is_low = sample.size and np.ptp(np.percentile(sample, (1, 99))) < LOW_RANGE
    return ("low_range",) if is_low else ()


def find_orientation_flag(flags: Iterable[str]) -> str:
    """How the picture was turned on reading: one of `ORIENTATION_FLAGS`, '' where it was not."""
    return next((flag for flag in flags if flag in ORIENTATION_FLAGS), "")


def dump_metadata(radiograph: Radiograph) -> dict[str, Any]:
    """All fields but the arrays, JSON-able; raw identifiers are among them: never write it to a file."""
    names = [field_info.name for field_info in fields(radiograph) if field_info.name not in {"pixels", "valid"}]
    facts = {name: getattr(radiograph, name) for name in names}
    return facts | {"identity": asdict(radiograph.identity)}


def restore_radiograph(facts: dict[str, Any], pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> Radiograph:
    """Restore a radiograph from the result of `dump_metadata` and its arrays."""
    spacing = facts["spacing_mm"]
    pair = (float(spacing[0]), float(spacing[1])) if spacing else None
    typed = {"flags": tuple(facts["flags"]), "spacing_mm": pair, "identity": RawIdentifiers(**facts["identity"])}
    return Radiograph(**(facts | typed), pixels=pixels, valid=valid)


def compute_pixel_sha256(array: NDArray[Any], values: NDArray[np.int32] | None = None) -> str:
    """Compute the hex sha256 of a stored picture: its shape and its values as 32-bit integers.

    Args:
        array: values [rows, cols], or if `values` is given, indices into `values`.
        values: int32 [n].
    """
    digest = hashlib.sha256(f"{array.shape[0]}x{array.shape[1]}:".encode())
    for block in iter_row_blocks(array):
        stored_values = array[block] if values is None else values[array[block]]
        digest.update(np.ascontiguousarray(stored_values, dtype="<i4"))
    return digest.hexdigest()
