"""Reads PNG, JPEG, TIFF and BMP pictures of public data sets under the same limits as DICOM."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from medprior.dicom.burned_in_text import flag_burned_in_text
from medprior.dicom.content_description import DESCRIBED_BYTES, describe_content
from medprior.dicom.decoding.codestream import check_scan_count
from medprior.dicom.file_opening import detect_file_type, open_regular_file
from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import WHITE_16_BIT, Radiograph, compute_pixel_sha256, find_low_range
from medprior.dicom.reading import read_radiograph
from medprior.errors import Rejected

RASTER_FORMATS = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "bmp": "BMP"}
WHITE_8_BIT = 255
TIFF_WHITE_IS_ZERO = 0  # value of the tag PhotometricInterpretation (TIFF 6.0, page 37)
# How a picture of each EXIF orientation is turned upright (EXIF 2.3, tag 0x0112).
EXIF_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# Pixels that any file may have, and pixels per byte of larger ones; the limits on bombs are our choice.
MIN_BOMB_PIXELS, MAX_PIXELS_PER_BYTE = 2**24, 100


def read_image(source: Path | str | BinaryIO, policy: Policy | None = None) -> Radiograph:
    """Read a DICOM, PNG, JPEG, TIFF or BMP radiograph; its content decides which.

    Raises:
        Rejected: it is none of them, or not a usable radiograph.
    """
    policy = policy or Policy()
    with open_regular_file(source, policy) as (stream, _):
        kind = detect_file_type(stream.read(136))
        stream.seek(0)
    radiograph = read_raster(source, policy) if kind in RASTER_FORMATS else read_radiograph(source, policy)
    return flag_burned_in_text(radiograph) if policy.detect_text else radiograph


def read_raster(source: Path | str | BinaryIO, policy: Policy | None = None) -> Radiograph:
    """Read a grey PNG, JPEG, TIFF or BMP as it is to be shown: air must be dark.

    No metadata are read but the EXIF orientation, which turns the picture upright, and what a TIFF
    file says about its grey values: bits, and whether low values are white.

    Raises:
        Rejected: `not_an_image`, `size`, `too_large`, `frames`, `bits_unsupported`, `colour`,
            `decode_failed` or `constant`.
    """
    policy = policy or Policy()
    with open_regular_file(source, policy) as (stream, _):
        data = stream.read()
    kind = detect_file_type(data[:136])
    if kind not in RASTER_FORMATS:
        content = describe_content(data[:DESCRIBED_BYTES])
        raise Rejected("not_an_image", f"the content is neither PNG, JPEG, TIFF nor BMP: the file is {content}")
    if kind == "jpeg":
        check_scan_count(data)
    picture = decode_raster(data, RASTER_FORMATS[kind], policy)
    stored = picture.stored
    if stored.min() == stored.max():
        raise Rejected("constant", "all pixels have the same value")
    pixels = stored.astype(np.float32)
    pixels /= np.float32(picture.white_level)
    valid = np.ones(pixels.shape, dtype=bool)
    turn_flags = ("exif_orientation",) if picture.turned else ()
    return Radiograph(
        pixels,
        valid,
        flags=(*turn_flags, *find_low_range(pixels, valid)),
        polarity_inverted=picture.inverted,
        pixel_sha256=compute_pixel_sha256(stored),
        syntax=kind,
    )


@dataclass(frozen=True)
class GreyPicture:
    """Decoded upright grey values [rows, cols], air dark, and the value of white.

    Attributes:
        turned: whether its EXIF orientation turned it.
        inverted: whether the file stores white as its lowest value.
    """

    stored: NDArray[Any]
    white_level: int
    turned: bool
    inverted: bool


def decode_raster(data: bytes, name: str, policy: Policy) -> GreyPicture:
    """Decode one picture of Pillow's format `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[name]) as image:
                check_raster_size(image, policy)
                cols, rows = image.size
                if rows * cols > max(MIN_BOMB_PIXELS, MAX_PIXELS_PER_BYTE * len(data)):
                    raise Rejected("too_large", "the picture is far larger than its compressed bytes can hold")
                turn = find_exif_turn(image)
                if isinstance(image, TiffImagePlugin.TiffImageFile):
                    return convert_tiff_to_grey(image, turned=turn is not None)
                upright = image if turn is None else image.transpose(turn)
                return GreyPicture(*convert_to_grey(upright), turned=turn is not None, inverted=False)
    except Rejected:
        raise
    except MemoryError:
        raise Rejected("memory", "decoding needs more memory than allowed") from None
    except Exception as error:
        # Pillow raises many types on broken files.
        if isinstance(error, UnidentifiedImageError) and name == "TIFF":
            raise Rejected("malformed", "the file begins as TIFF, but lists no picture") from None
        raise Rejected("decode_failed", "the picture cannot be decoded") from None


def find_exif_turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn a picture upright; None where its EXIF data state no turn or cannot be read."""
    try:
        return EXIF_TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except MemoryError:
        raise
    except Exception:
        # Pillow raises many types on broken EXIF data; the picture does not depend on them.
        return None


def check_raster_size(image: Image.Image, policy: Policy) -> None:
    """Refuse a picture whose header states a size outside the policy's limits (`size`)."""
    if not policy.accepts_shape(*image.size):
        raise Rejected("size", "rows and columns are outside the accepted range")


def convert_tiff_to_grey(image: TiffImagePlugin.TiffImageFile, turned: bool) -> GreyPicture:
    """Convert a TIFF picture of one page; Pillow itself turns it upright, and inverts it if it has 8 bits."""
    if getattr(image, "is_animated", False):
        raise Rejected("frames", "a TIFF file of several pages", fix="save the radiograph as a file of its own")
    inverted = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == TIFF_WHITE_IS_ZERO
    bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))[0]
    image.load()
    stored, white_level = convert_to_grey(image)
    if image.mode.startswith("I"):
        white_level = min(white_level, 2**bits - 1)
        stored = white_level - stored if inverted else stored
    return GreyPicture(stored, white_level, turned, inverted)


def convert_to_grey(image: Image.Image) -> tuple[NDArray[Any], int]:
    """Convert to grey values and the value of white; colour channels must agree, alpha is dropped."""
    if image.mode == "F":
        raise Rejected("bits_unsupported", "grey values are floating-point numbers, so that white is unknown")
    if image.mode.startswith("I"):
        stored = np.asarray(image).astype(np.int32)
        if stored.min() < 0 or stored.max() > WHITE_16_BIT:
            raise Rejected("bits_unsupported", "grey values lie outside 0 to 65535")
        return stored, WHITE_16_BIT
    if image.mode == "1":
        raise Rejected("bits_unsupported", "a picture of 1 bit, not a radiograph")
    if image.mode in {"L", "LA"}:
        return np.asarray(image if image.mode == "L" else image.convert("L")), WHITE_8_BIT
    channels = np.asarray(image.convert("RGB")).astype(np.int16)
    if int(np.ptp(channels, axis=2).max()) > 3:
        raise Rejected("colour", "a colour picture, not a radiograph")
    return channels[..., 1].astype(np.uint8), WHITE_8_BIT
