"""Both ways of labelling connected regions: scipy's on the CPU, propagation on a GPU."""

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.components import label_by_propagation, label_with_scipy


def partition(labels, on):
    """Which cells are together, whatever the labels: the first cell of each one's region."""
    first: dict[int, int] = {}
    return [first.setdefault(int(v), i) for i, v in enumerate(labels[on])]


def serpentine(side):
    on = np.zeros((side, side), dtype=bool)
    on[::2] = True
    on[1::4, -1] = on[3::4, 0] = True
    return on


@pytest.mark.parametrize("connectivity", [4, 8])
def test_propagation_gives_the_regions_of_scipy(connectivity):
    rng = np.random.default_rng(1)
    on = rng.random((120, 14, 14)) < rng.uniform(0.1, 0.9, (120, 1, 1))
    on[0], on[1] = serpentine(14), False
    on = torch.from_numpy(on)
    one, two = label_with_scipy(on, connectivity), label_by_propagation(on, connectivity)
    assert one.max() < 196
    assert two.max() < 196
    assert one.min() == two.min() == 0
    for a, b, cells in zip(one, two, on, strict=True):
        assert partition(a, cells) == partition(b, cells)
    assert len(set(two[0][on[0]].tolist())) == 1
