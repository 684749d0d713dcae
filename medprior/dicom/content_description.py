"""Describes in words what a file that is no radiograph is, by its first bytes."""

from __future__ import annotations

from medprior.dicom.file_opening import MAGIC_NUMBERS, PREAMBLE_BYTES

DESCRIBED_BYTES = 512  # as many first bytes as `describe_content` can use
DESCRIPTIONS = {
    "png": "a PNG picture", "jpeg": "a JPEG picture", "gif": "a GIF picture", "tiff": "a TIFF picture",
    "gzip": "a gzip archive", "zip": "a ZIP archive", "appledouble": "an AppleDouble file of macOS",
}  # fmt: skip
# (offset, bytes there, description); the first that fits counts.
SIGNATURES = (
    (PREAMBLE_BYTES, b"DICM", "a DICOM file"),
    *((0, magic, DESCRIPTIONS[kind]) for magic, kind in MAGIC_NUMBERS),
    (8, b"WEBP", "a WebP picture"),
    (0, b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftyp", "a video"),
    (0, b"PK\x05\x06", "a ZIP archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\xd0\xcf\x11\xe0", "a Microsoft Office document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"NRRD0", "an NRRD volume"),
    (0, b"\x5c\x01\0\0", "a NIfTI volume"),
    (0, b"\0\0\x01\x5c", "a NIfTI volume"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
    (0, b"\0\0\0\x01Bud1", "a Finder file of macOS"),
)
TEXT_STARTS = ((b"<!doctype html", "an HTML page"), (b"<html", "an HTML page"), (b"<?xml", "an XML file"))
TEXT_CONTROLS = {"\t", "\n", "\r", "\f"}
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def describe_content(head: bytes) -> str:
    """Name the kind of a file with its article, such as "a text file"; "of an unknown type" where nothing fits.

    Args:
        head: the first `DESCRIBED_BYTES` bytes of the file, fewer if it is shorter.
    """
    for offset, magic, description in SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return description
    start = head.lstrip().lower()
    for magic, description in TEXT_STARTS:
        if start.startswith(magic):
            return description
    return "a text file" if is_text(head) else "of an unknown type"


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are printable UTF-8 text, or begin with a byte order mark."""
    if head.startswith(BYTE_ORDER_MARKS):
        return True
    # A character may be cut at the end: it has at most three bytes there.
    text = head.decode("utf-8", "replace")
    text = text[: len(text) - 1] if text.endswith("\ufffd") and len(head) >= DESCRIBED_BYTES else text
    return bool(text) and all((char.isprintable() and char != "\ufffd") or char in TEXT_CONTROLS for char in text)
