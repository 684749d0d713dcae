"""Checks and times every decoder of every transfer syntax on a generated sample picture."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
from pydicom import uid
from pydicom.encaps import generate_frames

from medprior.dicom.decoding.decoders import DECODER_PLUGINS, UNCOMPRESSED_SYNTAXES, PixelLayout, decode_with_plugin
from medprior.dicom.decoding.samples import (
    LOSSY_JPEG_SYNTAXES,
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.dicom.parsing import convert_parser_errors
from medprior.dicom.reading import read_radiograph
from medprior.errors import Rejected

TIMING_ROUNDS = 3
LOSSY_TOLERANCE = 4


@dataclass(frozen=True)
class DecoderTrial:
    """The result of one decoder on one transfer syntax.

    Attributes:
        syntax: UID.
        name: name of the transfer syntax.
        plugin: name of the decoder.
        state: `right`, `wrong`, `failed` or `not tried` (no encoder here can write a sample).
        milliseconds: per megapixel, best of three; NaN for `failed` and `not tried`.
    """

    syntax: str
    name: str
    plugin: str
    state: str
    milliseconds: float = float("nan")


def try_decoders(side: int = 512) -> list[DecoderTrial]:
    """Try all decoders of all transfer syntaxes, in order of preference.

    Args:
        side: rows and columns of the sample picture.
    """
    trials = [try_uncompressed(syntax, side) for syntax in sorted(UNCOMPRESSED_SYNTAXES)]
    for syntax, plugins in DECODER_PLUGINS.items():
        trials += try_syntax(syntax, plugins, side)
    return trials


def try_uncompressed(syntax: str, side: int) -> DecoderTrial:
    """Time `read_radiograph` on an uncompressed sample file."""
    picture, name = create_sample_picture(side, side), uid.UID(syntax).name
    dataset = create_sample_dataset(picture)
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    if syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = picture.astype(">u2").tobytes()
    file = io.BytesIO(serialise_dataset(dataset))
    start = time.perf_counter()
    try:
        pixels = read_radiograph(file).pixels
    except Rejected:
        return DecoderTrial(syntax, name, "built in", "failed")
    seconds = time.perf_counter() - start
    is_correct = np.array_equal(np.rint(pixels * 4095), picture)
    return DecoderTrial(syntax, name, "built in", "right" if is_correct else "wrong", 1e9 * seconds / picture.size)


def try_syntax(syntax: str, plugins: tuple[str, ...], side: int) -> list[DecoderTrial]:
    """Try the decoders of one transfer syntax."""
    name = uid.UID(syntax).name
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    picture = create_sample_picture(side, side, bits)
    stored = picture.astype(np.uint8) if bits == 8 else picture
    try:
        dataset = compress_dataset(create_sample_dataset(stored, bits), syntax)
    except Exception:
        # Every encoder has its own errors; without a sample no decoder can be tried.
        return [DecoderTrial(syntax, name, plugin, "not tried") for plugin in plugins]
    data = next(generate_frames(dataset.PixelData, number_of_frames=1))
    layout = PixelLayout(side, side, 8 * stored.dtype.itemsize, bits, bits - 1, False)
    tolerance = LOSSY_TOLERANCE if syntax in LOSSY_JPEG_SYNTAXES else 0
    return [time_decoder(syntax, name, plugin, data, layout, picture, tolerance) for plugin in plugins]


def time_decoder(
    syntax: str,
    name: str,
    plugin: str,
    data: bytes,
    layout: PixelLayout,
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint16]],
    tolerance: int,
) -> DecoderTrial:
    """Decode `data` with one plugin; compare the result with `picture` and time it."""
    best_seconds = float("inf")
    try:
        for _ in range(TIMING_ROUNDS):
            start = time.perf_counter()
            with convert_parser_errors():
                array = decode_with_plugin(plugin, data, syntax, layout)
            best_seconds = min(best_seconds, time.perf_counter() - start)
    except Exception:
        # A missing or broken codec can raise any error.
        return DecoderTrial(syntax, name, plugin, "failed")
    is_correct = np.abs(array.astype(np.int32) - picture.astype(np.int32)).max() <= tolerance
    return DecoderTrial(syntax, name, plugin, "right" if is_correct else "wrong", 1e9 * best_seconds / picture.size)
