"""Decode run-length encoded masks of COCO."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]


def decode_run_lengths(counts: Any, size: Any) -> Mask:
    """A mask from run lengths, a list of numbers or the compressed text of COCO.

    Runs alternate between outside and inside, starting outside, in column-major order (COCO API,
    maskApi.c).

    Args:
        counts: list of int, or str.
        size: rows and columns.

    Returns:
        bool [rows, cols].

    Raises:
        MedpriorError: the runs do not sum to the number of pixels.
    """
    try:
        runs = decompress_counts(counts) if isinstance(counts, str) else [int(run) for run in counts]
        rows, cols = (int(side) for side in size)
        is_valid = 0 < rows * cols <= 2e8 and min(runs) >= 0 and sum(runs) == rows * cols
    except (TypeError, ValueError, IndexError):
        is_valid = False
    if not is_valid:
        raise MedpriorError(
            "the run lengths are damaged", where="segmentation", expected="runs that add up to rows x columns"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape((rows, cols), order="F")


def decompress_counts(text: str) -> list[int]:
    """Run lengths from the compressed text: five bits a character, most after the third as
    differences from the run two before (maskApi.c, rleFrString).
    """
    runs: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            code = ord(text[position]) - 48
            if not 0 <= code < 64 or shift > 60:
                raise ValueError
            value |= (code & 0x1F) << shift
            more = bool(code & 0x20)
            position, shift = position + 1, shift + 5
            if not more and code & 0x10:
                value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs
