"""Parses the header of a DICOM file within limits; pixel data are left in the stream."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import STANDARD_VR

from medprior.dicom.content_description import DESCRIBED_BYTES, describe_content
from medprior.dicom.file_opening import PREAMBLE_BYTES, detect_file_type
from medprior.dicom.header import Header
from medprior.dicom.policy import Policy
from medprior.dicom.structure import UNDEFINED_LENGTH, DataElementWalker
from medprior.errors import Rejected

MAX_VALUE_BYTES = 2**24
MIN_BOMB_INFLATED_BYTES, MAX_INFLATION_RATIO = 2**26, 100
INFLATE_CHUNK_BYTES = 2**22
SOP_CLASS_TAG, MEDIA_CLASS_TAG = 0x00080016, 0x00020002
KNOWN_VRS = {vr.encode() for vr in STANDARD_VR}


@dataclass
class ParsedHeader:
    """A header and the stream, positioned at its pixel data.

    Attributes:
        header: all elements before the pixel data.
        syntax: transfer syntax UID.
        guessed_syntax: whether the file states no transfer syntax.
        implicit: whether elements have no VR.
        stream: the file, or its inflated data set.
        size: bytes of `stream`.
    """

    header: Header
    syntax: str
    guessed_syntax: bool
    implicit: bool
    stream: BinaryIO
    size: int


@contextmanager
def convert_parser_errors() -> Iterator[None]:
    """Convert errors of the parser to codes; their texts may quote the file and are dropped."""
    logger = logging.getLogger("pydicom")
    level, silent = logger.level, logging.CRITICAL + 1
    if level != silent:
        # `setLevel` visits every logger: a worker process does it once, see `close_other_descriptors`.
        logger.setLevel(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Rejected:
        raise
    except RecursionError:
        raise Rejected("too_deep", "sequences are nested too deeply") from None
    except MemoryError:
        raise Rejected("memory", "the file needs more memory than a worker may use") from None
    except Exception:
        raise Rejected("malformed", "the file cannot be parsed as DICOM") from None
    finally:
        if level != silent:
            logger.setLevel(level)


def parse_header(stream: BinaryIO, size: int, policy: Policy) -> ParsedHeader:
    """Parse the header up to the pixel data.

    Raises:
        Rejected: `not_dicom`, `malformed`, `truncated`, `too_deep`, `too_many_elements`,
            `syntax_unknown` or `too_large`.
    """
    head = stream.read(DESCRIBED_BYTES)
    kind = detect_file_type(head)
    if kind not in {"dicom", "bare_dicom"}:
        raise Rejected("not_dicom", f"the content is not DICOM: the file is {describe_content(head)}")
    stream.seek(PREAMBLE_BYTES + 4 if kind == "dicom" else 0)
    with convert_parser_errors():
        meta = Header(Dataset())
        if kind == "dicom":
            meta = Header(read_checked_dataset(stream, size, policy, False, True, lambda tag: tag >> 16 != 2))
        syntax, guessed = meta.text(0x00020010), False
        if not syntax:
            syntax, guessed = guess_transfer_syntax(stream), True
        if syntax == DeflatedExplicitVRLittleEndian:
            data = inflate_dataset(stream.read(), policy.max_bytes)
            stream, size = io.BytesIO(data), len(data)
        check_byte_order(stream, syntax)
        little = syntax != ExplicitVRBigEndian
        implicit = syntax == ImplicitVRLittleEndian
        dataset = read_checked_dataset(stream, size, policy, implicit, little, lambda tag: tag >= 0x7FE00000)
        add_class_of_file_meta(dataset, meta)
    if kind == "bare_dicom" and SOP_CLASS_TAG not in dataset:
        raise Rejected("not_dicom", "neither preamble nor SOP class: not DICOM")
    # A file may be implicit although its meta header says explicit; the parser detects that.
    implicit = bool(dataset.original_encoding[0])
    return ParsedHeader(Header(dataset, little), syntax, guessed, implicit, stream, size)


def add_class_of_file_meta(dataset: Dataset, meta: Header) -> None:
    """Give a data set without SOP Class UID that of the file meta, which is the same by PS3.10 7.1."""
    media_class = meta.raw(MEDIA_CLASS_TAG)
    if media_class and not Header(dataset).text(SOP_CLASS_TAG):
        dataset[SOP_CLASS_TAG] = RawDataElement(Tag(SOP_CLASS_TAG), "UI", len(media_class), media_class, 0, False, True)


def read_checked_dataset(
    stream: BinaryIO, size: int, policy: Policy, implicit: bool, little: bool, ends: Callable[[int], bool]
) -> Dataset:
    """Read the elements before the first tag that `ends` accepts; values above 16 MiB stay in the file."""
    # The parser follows the first element, not the file meta: so does the check.
    head = stream.read(6)
    stream.seek(-len(head), io.SEEK_CUR)
    DataElementWalker(stream, head[4:6] not in KNOWN_VRS, little, policy.max_elements, ends).check()
    stop = build_stop_rule(stream, size, ends)
    return read_dataset(stream, implicit, little, stop_when=stop, defer_size=MAX_VALUE_BYTES)


def build_stop_rule(stream: BinaryIO, size: int, ends: Callable[[int], bool]) -> Callable[[int, str | None, int], bool]:
    """Build the stop rule of the parser, which also checks every length."""

    def stop(tag: int, vr: str | None, length: int) -> bool:
        """Stop at the end; raise at an element that is longer than the file."""
        if ends(int(tag)):
            return True
        check_element_length(length, stream, size)
        return False

    return stop


def check_element_length(length: int, stream: BinaryIO, size: int) -> None:
    """Refuse an element that is longer than the rest of the file (`truncated`)."""
    if length != UNDEFINED_LENGTH and length > size - stream.tell():
        raise Rejected("truncated", "an element is longer than the rest of the file")


def guess_transfer_syntax(stream: BinaryIO) -> str:
    """Guess explicit or implicit little endian from the first element."""
    head = stream.read(6)
    stream.seek(-len(head), io.SEEK_CUR)
    return str(ExplicitVRLittleEndian if head[4:6] in KNOWN_VRS else ImplicitVRLittleEndian)


def check_byte_order(stream: BinaryIO, syntax: str) -> None:
    """Refuse a file whose first element contradicts the byte order of its syntax (`truncated`, `malformed`)."""
    head = stream.read(2)
    stream.seek(-len(head), io.SEEK_CUR)
    order: Literal["big", "little"] = "big" if syntax == ExplicitVRBigEndian else "little"
    if len(head) < 2:
        raise Rejected("truncated", "the file ends after its meta header")
    if int.from_bytes(head, order) > 0x00FF and head != b"\xe0\x7f":
        raise Rejected("malformed", "the byte order differs from the transfer syntax")


def inflate_dataset(data: bytes, limit: int) -> bytes:
    """Inflate a deflated data set, to at most `limit` bytes.

    Above 64 MiB the result may be at most 100 times as large as `data` (our choice: pictures
    deflate to a half or a quarter).

    Raises:
        Rejected: `too_large` or `malformed`.
    """
    limit = min(limit, max(MIN_BOMB_INFLATED_BYTES, MAX_INFLATION_RATIO * len(data)))
    for bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        # The standard requires the bare stream; some writers add the zlib header.
        with suppress(zlib.error):
            return decompress_limited(zlib.decompressobj(bits), data, limit)
    raise Rejected("malformed", "the deflated part cannot be inflated")


def decompress_limited(decompressor: Any, data: bytes, limit: int) -> bytes:
    """Decompress `data` with a zlib decompressor, to at most `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while data and not decompressor.eof:
        chunk = decompressor.decompress(data, INFLATE_CHUNK_BYTES)
        data, size = decompressor.unconsumed_tail, size + len(chunk)
        chunks.append(chunk)
        if size > limit:
            raise Rejected("too_large", f"inflates to more than {limit} bytes")
    return b"".join(chunks)
