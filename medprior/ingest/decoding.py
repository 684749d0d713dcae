"""Decodes, checks and downsamples one file in a worker process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy, Radiograph, RawIdentifiers
from medprior.dicom.display.polarity import invert_polarity
from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.radiograph import (
    WHITE_16_BIT,
    compute_pixel_sha256,
    dump_metadata,
    find_orientation_flag,
    restore_radiograph,
)
from medprior.errors import Rejected
from medprior.ingest.descriptor import MaskRule, RawFormat
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.workers.sandbox import Message


@dataclass(frozen=True)
class DecodedImage:
    """Result of one accepted file.

    Shape:
        stored: uint16 [h, w], the image at store size, 65535 is white.
        valid: bool [h, w], or None where every pixel is valid.
        masks: structure -> bool [h, w].

    Attributes:
        size: rows and columns of the source.
        metadata: the radiograph without its arrays.
        identity: raw identifiers; they never leave the parent process.
    """

    stored: NDArray[np.uint16]
    valid: NDArray[np.bool_] | None
    masks: dict[str, NDArray[np.bool_]]
    size: tuple[int, int]
    metadata: Radiograph
    identity: RawIdentifiers


@dataclass(frozen=True)
class RejectedFile:
    """Result of a rejected file."""

    code: str
    message: str


def decode_source(source: ImageSource, policy: Policy, store_size: int) -> DecodedImage | RejectedFile:
    """Decode one source; every fault of the file becomes a reject code."""
    # The parent of the workers imports this module too and needs neither parser nor codecs.
    from medprior.dicom import read_image
    from medprior.dicom.burned_in_text import flag_burned_in_text
    from medprior.ingest.masks import read_masks

    try:
        if source.raw is not None:
            radiograph = read_raw_image(Path(source.path), source.raw, policy)
            radiograph = flag_burned_in_text(radiograph) if policy.detect_text else radiograph
        else:
            radiograph = read_image(source.path, policy)
        if source.stretch:
            radiograph = replace(radiograph, pixels=stretch_contrast(radiograph.pixels))
        rows, cols = radiograph.pixels.shape
        size = compute_resized_shape((rows, cols), store_size)
        orientation_flag = find_orientation_flag(radiograph.flags)
        stored_shape = (radiograph.stored_rows or rows, radiograph.stored_cols or cols)
        masks, flags = read_masks(source.masks, size, stored_shape, orientation_flag, policy)
        stored = np.rint(np.clip(resize_pixels(radiograph.pixels, *size), 0, 1) * WHITE_16_BIT).astype(np.uint16)
        valid = None
        if not radiograph.valid.all():
            valid = resize_pixels(radiograph.valid.astype(np.float32), *size) >= 0.5
        metadata = drop_arrays_and_identifiers(replace(radiograph, flags=(*radiograph.flags, *flags)))
        return DecodedImage(stored, valid, masks, (rows, cols), metadata, radiograph.identity)
    except Rejected as error:
        return RejectedFile(error.code, error.what)
    except MemoryError:
        return RejectedFile("memory", "the file needs more memory than a worker may use")
    except Exception as error:
        # A bug in medprior must not end the run either; only the kind of error is recorded.
        return RejectedFile("internal", f"unexpected {type(error).__name__}")


def stretch_contrast(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image scaled so that its smallest value is 0 and its largest 1."""
    low, high = float(pixels.min()), float(pixels.max())
    return np.asarray((pixels - np.float32(low)) / np.float32(high - low), dtype=np.float32)


def read_raw_image(path: Path, layout: RawFormat, policy: Policy) -> Radiograph:
    """Read a headerless image.

    Raises:
        Rejected: the file has another length, or the image has no contrast.
    """
    with open_regular_file(path, policy) as (stream, size):
        if size != 2 * layout.rows * layout.cols:
            raise Rejected("pixel_length", "the raw file does not have the stated size")
        stored = np.frombuffer(stream.read(), dtype=">u2" if layout.big_endian else "<u2")
    stored = stored.reshape(layout.rows, layout.cols) & ((1 << layout.bits) - 1)
    if stored.min() == stored.max():
        raise Rejected("constant", "all pixels have the same value")
    pixels = stored.astype(np.float32) / np.float32((1 << layout.bits) - 1)
    spacing = layout.spacing_mm
    return Radiograph(
        pixels=invert_polarity(pixels) if layout.inverted else pixels,
        valid=np.ones(pixels.shape, dtype=bool),
        spacing_mm=(spacing, spacing) if spacing else None,
        spacing_kind="film" if spacing else "none",
        polarity_inverted=layout.inverted,
        pixel_sha256=compute_pixel_sha256(stored),
        syntax="raw",
    )


def drop_arrays_and_identifiers(radiograph: Radiograph) -> Radiograph:
    """A radiograph without arrays and identifiers."""
    empty = np.zeros((0, 0), dtype=np.float32)
    return replace(radiograph, pixels=empty, valid=empty.astype(bool), identity=RawIdentifiers())


def serialize_source(source: ImageSource) -> dict[str, Any]:
    """A source as a JSON-able mapping."""
    masks = [[mask.path, mask.structure, mask.rule.model_dump(mode="json")] for mask in source.masks]
    raw = source.raw.model_dump(mode="json") if source.raw else None
    return {
        "path": source.file_path, "relative": source.relative, "key": source.key, "raw": raw,
        "masks": masks, "stretch": source.stretch,
    }  # fmt: skip


def deserialize_source(fields: dict[str, Any]) -> ImageSource:
    """The source that `serialize_source` encoded."""
    raw = RawFormat.model_validate(fields["raw"]) if fields["raw"] else None
    masks = tuple(MaskFile(path, structure, MaskRule.model_validate(rule)) for path, structure, rule in fields["masks"])
    return ImageSource(fields["path"], fields["relative"], fields["key"], raw, masks, bool(fields["stretch"]))


def serialize_result(result: DecodedImage | RejectedFile) -> Message:
    """A result as a message: a JSON-able mapping and arrays."""
    if isinstance(result, RejectedFile):
        return {"code": result.code, "message": result.message}, []
    metadata = dump_metadata(replace(result.metadata, identity=result.identity))
    message = {"facts": metadata, "size": list(result.size), "masks": list(result.masks)}
    valid = [result.valid] if result.valid is not None else []
    return message, [result.stored, *result.masks.values(), *valid]


def deserialize_result(message: dict[str, Any], arrays: list[NDArray[Any]]) -> DecodedImage | RejectedFile:
    """The result that `serialize_result` encoded."""
    if "code" in message:
        return RejectedFile(str(message["code"]), str(message["message"]))
    stored, *other_arrays = arrays
    radiograph = restore_radiograph(message["facts"], stored.astype(np.float32), np.ones((0, 0), dtype=bool))
    masks = dict(zip(message["masks"], other_arrays, strict=False))
    valid = other_arrays[len(masks)] if len(other_arrays) > len(masks) else None
    rows, cols = message["size"]
    return DecodedImage(
        stored, valid, masks, (int(rows), int(cols)), drop_arrays_and_identifiers(radiograph), radiograph.identity
    )
