"""The images of each step, from seed and step alone."""

import numpy as np

from medprior.pretrain.views.batches import compute_step_indices


def test_every_image_once_an_epoch_even_across_batches():
    seen = np.concatenate([compute_step_indices(3, step, 10, 4) for step in range(5)])
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert (compute_step_indices(3, 2, 10, 4) == compute_step_indices(3, 2, 10, 4)).all()
