"""The images of each step, from seed and step alone."""

import numpy as np
import pytest

from medprior.pretrain.views.batches import (
    CROP_STREAM,
    MASK_STREAM,
    SHUFFLE_STREAM,
    VISIBLE_STREAM,
    compute_epoch_order,
    compute_step_indices,
)


def test_every_image_once_an_epoch_even_across_batches():
    seen = np.concatenate([compute_step_indices(3, step, 10, 4) for step in range(5)])
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert (compute_step_indices(3, 2, 10, 4) == compute_step_indices(3, 2, 10, 4)).all()


def test_a_batch_may_span_several_epochs():
    indices = compute_step_indices(0, 0, 3, 8)
    assert len(indices) == 8
    assert sorted(indices[:3]) == sorted(indices[3:6]) == [0, 1, 2]
    following = compute_step_indices(0, 1, 3, 8)
    assert sorted([*indices[6:], following[0]]) == sorted(following[1:4]) == [0, 1, 2]


def test_seed_and_epoch_change_the_order():
    first = compute_step_indices(0, 0, 50, 50)
    assert (first != compute_step_indices(1, 0, 50, 50)).any()
    assert (first != compute_step_indices(0, 1, 50, 50)).any()


def test_no_use_of_random_numbers_shares_a_stream():
    assert len({SHUFFLE_STREAM, CROP_STREAM, MASK_STREAM, VISIBLE_STREAM}) == 4


def test_an_epoch_is_shuffled_once():
    """Ten million images take 0.15 s to shuffle; steps ask for their images several times."""
    compute_epoch_order.cache_clear()
    for step in range(10):
        for _ in range(2):
            compute_step_indices(7, step, 25, 5)
    assert compute_epoch_order.cache_info().misses == 2
    with pytest.raises(ValueError, match="read-only"):
        compute_epoch_order(7, 0, 25)[0] = 1
