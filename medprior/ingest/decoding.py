"""The work of one worker on one file: read, judge, reduce; nothing heavy travels back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy, Radiograph, RawIdentifiers
from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.radiograph import (
    WHITE_16_BIT,
    compute_pixel_sha256,
    dump_metadata,
    find_turn_flag,
    restore_radiograph,
)
from medprior.errors import Rejected
from medprior.ingest.descriptor import MaskRule, RawFormat
from medprior.ingest.plan import ImageSource, MaskFile
from medprior.workers.sandbox import Message


@dataclass(frozen=True)
class DecodedImage:
    """What a worker hands back of one usable file.

    Shape:
        stored: uint16 [h, w], the picture reduced to the store size, 65535 is white.
        valid: bool [h, w], or None where all of it is.
        masks: structure -> bool [h, w].

    Attributes:
        size: rows and columns before reduction.
        facts: the radiograph without its arrays.
        identity: raw identifiers; they stay within the parent process.
    """

    stored: NDArray[np.uint16]
    valid: NDArray[np.bool_] | None
    masks: dict[str, NDArray[np.bool_]]
    size: tuple[int, int]
    facts: Radiograph
    identity: RawIdentifiers


@dataclass(frozen=True)
class RejectedFile:
    """What a worker hands back of a file that is not usable."""

    code: str
    message: str


def decode_source(source: ImageSource, policy: Policy, store_size: int) -> DecodedImage | RejectedFile:
    """Read one source; every fault of the file becomes a code."""
    # Who owns workers imports this module too, and needs neither parser nor codecs.
    from medprior.dicom import read_image
    from medprior.ingest.masks import read_masks

    try:
        if source.raw is not None:
            found = read_raw_image(Path(source.path), source.raw, policy)
        else:
            found = read_image(source.path, policy)
        if source.stretch:
            found = replace(found, pixels=stretch_contrast(found.pixels))
        rows, cols = found.pixels.shape
        size = compute_resized_shape((rows, cols), store_size)
        turned = find_turn_flag(found.flags)
        as_stored = (found.stored_rows or rows, found.stored_cols or cols)
        masks, flags = read_masks(source.masks, size, as_stored, turned, policy)
        picture = np.rint(np.clip(resize_pixels(found.pixels, *size), 0, 1) * WHITE_16_BIT).astype(np.uint16)
        valid = None
        if not found.valid.all():
            valid = resize_pixels(found.valid.astype(np.float32), *size) >= 0.5
        facts = drop_arrays(replace(found, flags=(*found.flags, *flags)))
        return DecodedImage(picture, valid, masks, (rows, cols), facts, found.identity)
    except Rejected as error:
        return RejectedFile(error.code, error.what)
    except MemoryError:
        return RejectedFile("memory", "the file needs more memory than a worker may use")
    except Exception as error:
        # A bug of ours must not end the run either; only the kind of error is kept.
        return RejectedFile("internal", f"unforeseen {type(error).__name__}")


def stretch_contrast(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The picture with its smallest value at 0 and its largest at 1."""
    low, high = float(pixels.min()), float(pixels.max())
    return np.asarray((pixels - np.float32(low)) / np.float32(high - low), dtype=np.float32)


def read_raw_image(path: Path, layout: RawFormat, policy: Policy) -> Radiograph:
    """A headerless picture.

    Raises:
        Rejected: its length does not fit, or it has no contrast.
    """
    with open_regular_file(path, policy) as (stream, size):
        if size != 2 * layout.rows * layout.cols:
            raise Rejected("pixel_length", "the raw file has not the stated size")
        stored = np.frombuffer(stream.read(), dtype=">u2" if layout.big_endian else "<u2")
    stored = stored.reshape(layout.rows, layout.cols) & ((1 << layout.bits) - 1)
    if stored.min() == stored.max():
        raise Rejected("constant", "all pixels have the same value")
    pixels = stored.astype(np.float32) / np.float32((1 << layout.bits) - 1)
    spacing = layout.spacing_mm
    return Radiograph(
        pixels=1 - pixels if layout.inverted else pixels,
        valid=np.ones(pixels.shape, dtype=bool),
        spacing_mm=(spacing, spacing) if spacing else None,
        spacing_kind="film" if spacing else "none",
        polarity_inverted=layout.inverted,
        pixel_sha256=compute_pixel_sha256(stored),
        syntax="raw",
    )


def drop_arrays(found: Radiograph) -> Radiograph:
    """The facts of a radiograph alone, without its identifiers."""
    nothing = np.zeros((0, 0), dtype=np.float32)
    return replace(found, pixels=nothing, valid=nothing.astype(bool), identity=RawIdentifiers())


def serialize_source(source: ImageSource) -> dict[str, Any]:
    """A source as JSON-able facts."""
    masks = [[mask.path, mask.structure, mask.rule.model_dump(mode="json")] for mask in source.masks]
    raw = source.raw.model_dump(mode="json") if source.raw else None
    return {
        "path": source.path, "relative": source.relative, "key": source.key, "raw": raw,
        "masks": masks, "stretch": source.stretch,
    }  # fmt: skip


def deserialize_source(facts: dict[str, Any]) -> ImageSource:
    """The source that `source_message` was given."""
    raw = RawFormat.model_validate(facts["raw"]) if facts["raw"] else None
    masks = tuple(MaskFile(path, structure, MaskRule.model_validate(rule)) for path, structure, rule in facts["masks"])
    return ImageSource(facts["path"], facts["relative"], facts["key"], raw, masks, bool(facts["stretch"]))


def serialize_result(answer: DecodedImage | RejectedFile) -> Message:
    """What a worker sends back: facts and arrays."""
    if isinstance(answer, RejectedFile):
        return {"code": answer.code, "message": answer.message}, []
    facts = dump_metadata(replace(answer.facts, identity=answer.identity))
    said = {"facts": facts, "size": list(answer.size), "masks": list(answer.masks)}
    valid = [answer.valid] if answer.valid is not None else []
    return said, [answer.stored, *answer.masks.values(), *valid]


def deserialize_result(said: dict[str, Any], arrays: list[NDArray[Any]]) -> DecodedImage | RejectedFile:
    """The answer that `answer_message` was given."""
    if "code" in said:
        return RejectedFile(str(said["code"]), str(said["message"]))
    stored, *others = arrays
    found = restore_radiograph(said["facts"], stored.astype(np.float32), np.ones((0, 0), dtype=bool))
    masks = dict(zip(said["masks"], others, strict=False))
    valid = others[len(masks)] if len(others) > len(masks) else None
    rows, cols = said["size"]
    return DecodedImage(stored, valid, masks, (int(rows), int(cols)), drop_arrays(found), found.identity)
