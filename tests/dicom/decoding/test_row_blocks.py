"""Blocks of rows cover an array once, in order."""

import numpy as np

from medprior.dicom.decoding.row_blocks import iter_row_blocks


def build_wide_array(rows, cols):
    """An array of this shape that takes no memory."""
    return np.broadcast_to(np.uint8(0), (rows, cols))


def test_a_block_has_whole_rows_of_a_quarter_million_values():
    blocks = [(block.start, block.stop) for block in iter_row_blocks(build_wide_array(5, 2**17))]
    assert blocks == [(0, 2), (2, 4), (4, 6)]


def test_a_row_longer_than_a_block_is_a_block():
    blocks = [(block.start, block.stop) for block in iter_row_blocks(build_wide_array(2, 2**18 + 1))]
    assert blocks == [(0, 1), (1, 2)]


def test_arrays_without_values_have_at_most_one_block():
    assert list(iter_row_blocks(build_wide_array(0, 5))) == []
    assert len(list(iter_row_blocks(build_wide_array(3, 0)))) == 1
