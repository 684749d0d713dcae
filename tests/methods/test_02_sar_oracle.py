"""SAR against an independent labelling, and the GPU's against the CPU's (methods 11, point 2).

The oracle is scikit-image's connected components with a loop over regions: the reference code's
OpenCV does the same and is no dependency here.
"""

import numpy as np
import pytest
import torch
from skimage.measure import label

from medprior.pretrain.objectives.components import label_by_propagation, label_with_scipy
from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy


def oracle(logits, connectivity):
    above = np.maximum(logits - logits.mean(), 0)
    regions = label(logits > logits.mean(), connectivity=1 if connectivity == 4 else 2)
    masses = np.array([above[regions == n].sum() for n in range(1, regions.max() + 1)])
    shares = masses / masses.sum()
    return -(shares * np.log(shares)).sum()


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("grid", [(14, 14), (6, 11)])
def test_entropy_is_the_oracles(grid, connectivity):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(200, *grid))
    found = compute_spatial_entropy(torch.from_numpy(maps).flatten(1), grid, connectivity)
    expected = [oracle(each, connectivity) for each in maps]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


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
