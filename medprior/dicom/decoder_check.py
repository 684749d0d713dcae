"""Tries every transfer syntax on a small picture made on the spot, and times each decoder."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
from pydicom import uid
from pydicom.encaps import generate_frames

from medprior.dicom.decoders import NATIVE, PLUGINS, Layout, attempt
from medprior.dicom.parsing import parser_faults
from medprior.dicom.reading import read_radiograph
from medprior.dicom.samples import (
    LOSSY_JPEG,
    compressed,
    sample_bytes,
    sample_dataset,
    sample_picture,
)
from medprior.errors import Rejected

ROUNDS = 3
LOSSY_TOLERANCE = 4


@dataclass(frozen=True)
class Trial:
    """How one decoder did on one transfer syntax.

    Attributes:
        syntax: UID.
        name: the syntax in words.
        plugin: the decoder.
        state: `right`, `wrong`, `failed` or `not tried` (nothing here can write a sample).
        milliseconds: per megapixel, the best of three; NaN where it was not tried or failed.
    """

    syntax: str
    name: str
    plugin: str
    state: str
    milliseconds: float = float("nan")


def try_decoders(side: int = 512) -> list[Trial]:
    """Try all decoders of all transfer syntaxes, the preferred one of each first.

    Args:
        side: rows and columns of the sample picture.
    """
    trials = [try_native(syntax, side) for syntax in sorted(NATIVE)]
    for syntax, plugins in PLUGINS.items():
        trials += try_syntax(syntax, plugins, side)
    return trials


def try_native(syntax: str, side: int) -> Trial:
    """Read an uncompressed file, header included."""
    picture, name = sample_picture(side, side), uid.UID(syntax).name
    dataset = sample_dataset(picture)
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    if syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = picture.astype(">u2").tobytes()
    file = io.BytesIO(sample_bytes(dataset))
    start = time.perf_counter()
    try:
        pixels = read_radiograph(file).pixels
    except Rejected:
        return Trial(syntax, name, "built in", "failed")
    seconds = time.perf_counter() - start
    right = np.array_equal(np.rint(pixels * 4095), picture)
    return Trial(
        syntax, name, "built in", "right" if right else "wrong", 1e9 * seconds / picture.size
    )


def try_syntax(syntax: str, plugins: tuple[str, ...], side: int) -> list[Trial]:
    """Try the decoders of one transfer syntax."""
    name = uid.UID(syntax).name
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    picture = sample_picture(side, side, bits)
    stored = picture.astype(np.uint8) if bits == 8 else picture
    try:
        dataset = compressed(sample_dataset(stored, bits), syntax)
    except Exception:
        # Every encoder has its own errors; without a sample nothing can be said.
        return [Trial(syntax, name, plugin, "not tried") for plugin in plugins]
    data = next(generate_frames(dataset.PixelData, number_of_frames=1))
    layout = Layout(side, side, 8 * stored.dtype.itemsize, bits, bits - 1, False)
    tolerance = LOSSY_TOLERANCE if syntax in LOSSY_JPEG else 0
    return [timed(syntax, name, plugin, data, layout, picture, tolerance) for plugin in plugins]


def timed(
    syntax: str,
    name: str,
    plugin: str,
    data: bytes,
    layout: Layout,
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint16]],
    tolerance: int,
) -> Trial:
    """Decode with one plugin, compare, time."""
    best = float("inf")
    try:
        for _ in range(ROUNDS):
            start = time.perf_counter()
            with parser_faults():
                array = attempt(plugin, data, syntax, layout)
            best = min(best, time.perf_counter() - start)
    except Exception:
        # A codec that is missing or broken fails in a way of its own.
        return Trial(syntax, name, plugin, "failed")
    wrong = np.abs(array.astype(np.int32) - picture.astype(np.int32)).max() > tolerance
    per_megapixel = 1e9 * best / picture.size
    return Trial(syntax, name, plugin, "wrong" if wrong else "right", per_megapixel)
