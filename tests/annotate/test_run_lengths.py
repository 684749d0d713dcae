"""Run lengths by hand and against pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from medprior.annotate.run_lengths import decode_run_lengths, decompress_counts
from medprior.errors import MedpriorError


def test_runs_go_down_the_columns_and_begin_outside():
    assert decode_run_lengths([1, 2, 3], (2, 3)).tolist() == [[False, True, False], [True, False, False]]
    assert decode_run_lengths([0, 6], [2, 3]).all()


@pytest.mark.parametrize("seed", range(4))
def test_compressed_text_is_what_the_coco_api_wrote(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 90)), int(rng.integers(1, 90)))
    mask = np.repeat(rng.random(shape) < 0.5, 1 + seed, axis=0)
    text = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(decode_run_lengths(text, mask.shape), mask)


def test_text_holds_five_bits_a_character_and_differences_from_the_fourth_run():
    assert decompress_counts("5550") == [5, 5, 5, 5]
    assert decompress_counts("X1") == [40]
    assert decompress_counts("551O") == [5, 5, 1, 4]


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        ([1, 2, 2], (2, 3)),
        ([1, 2, 4], (2, 3)),
        ([-1, 7], (2, 3)),
        ([], (2, 3)),
        ([0], (0, 3)),
        (["a"], (2, 3)),
        ([6], (2, 3, 1)),
        (None, (2, 3)),
        ("X", (2, 3)),
        ("!", (2, 3)),
    ],
)
def test_damaged_runs_are_refused(counts, size):
    with pytest.raises(MedpriorError, match="damaged"):
        decode_run_lengths(counts, size)
