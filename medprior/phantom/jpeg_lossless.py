"""JPEG Lossless, process 14 with selection value 1 (ITU-T T.81, Annex H), encoder only.

Written here because the one packaged encoder without the GPL (gdcm) aborts the process when
Python frees its fragments.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

# One fixed canonical table (our choice): categories 0-13 take four bits, 14-16 five.
CODE_LENGTHS_BITS = np.array([4] * 14 + [5] * 3)
HUFFMAN_CODES = np.array([*range(14), 28, 29, 30])


def encode_jpeg_lossless(stored: NDArray[np.uint16], bits: int) -> bytes:
    """A JPEG stream.

    Args:
        stored: values below 2**bits, [rows, cols].
        bits: sample precision, 2 to 16.
    """
    rows, cols = stored.shape
    counts = bytes(int(np.count_nonzero(length == CODE_LENGTHS_BITS)) for length in range(1, 17))
    head = b"\xff\xd8"
    head += struct.pack(">HHBHHBBBB", 0xFFC3, 11, bits, rows, cols, 1, 1, 0x11, 0)
    head += struct.pack(">HHB", 0xFFC4, 19 + len(HUFFMAN_CODES), 0) + counts + bytes(range(len(HUFFMAN_CODES)))
    head += struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 1, 0, 0)
    return head + huffman_encode(compute_residuals(stored, bits)) + b"\xff\xd9"


def compute_residuals(stored: NDArray[np.uint16], bits: int) -> NDArray[np.int64]:
    """Each sample minus its left neighbour (upper one in the first column), flat, H.1.2.1."""
    values = stored.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (bits - 1)
    return ((values - predicted + 32767) % 65536 - 32767).ravel()


def huffman_encode(difference: NDArray[np.int64]) -> bytes:
    """Huffman codes with their extra bits, padded with ones, 0xFF stuffed (H.1.2.2, B.1.1.5)."""
    category = np.frexp(np.abs(difference).astype(np.float64))[1].astype(np.int64)
    category[difference == 0] = 0
    extra_bits = np.where(category == 16, 0, category)
    extra = np.where(difference < 0, difference + (1 << category) - 1, difference)
    extra = np.where(category == 16, 0, extra)
    code = (HUFFMAN_CODES[category] << extra_bits) | extra
    length = CODE_LENGTHS_BITS[category] + extra_bits
    end = np.cumsum(length)
    total = int(end[-1])
    shift = np.repeat(end, length) - 1 - np.arange(total)
    stream = (np.repeat(code, length) >> shift) & 1
    stream = np.concatenate([stream, np.ones(-total % 8, np.int64)])
    data = np.packbits(stream.astype(np.uint8))
    return np.insert(data, np.flatnonzero(data == 0xFF) + 1, 0).tobytes()
