"""The ways of labelling connected regions: scipy's on the CPU, closure or propagation on a GPU."""

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.components import (
    label_by_closure,
    label_by_propagation,
    label_components,
    label_with_scipy,
    propagate_marks,
)


def partition(labels, on):
    """Which cells are together, whatever the labels: the first cell of each one's region."""
    first: dict[int, int] = {}
    return [first.setdefault(int(v), i) for i, v in enumerate(labels[on])]


def serpentine(side):
    on = np.zeros((side, side), dtype=bool)
    on[::2] = True
    on[1::4, -1] = on[3::4, 0] = True
    return on


@pytest.mark.parametrize("label", [label_by_propagation, label_by_closure])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_a_gpu_finds_the_regions_of_scipy(connectivity, label):
    rng = np.random.default_rng(1)
    on = rng.random((120, 14, 14)) < rng.uniform(0.1, 0.9, (120, 1, 1))
    on[0], on[1] = serpentine(14), False
    on = torch.from_numpy(on)[: 30 if label is label_by_closure else None]  # bfloat16 products are slow on a CPU
    one, two = label_with_scipy(on, connectivity), label(on, connectivity)
    assert one.max() < 196
    assert two.max() < 196
    assert one.min() == two.min() == 0
    for a, b, cells in zip(one, two, on, strict=True):
        assert partition(a, cells) == partition(b, cells)
    assert len(set(two[0][on[0]].tolist())) == 1


def test_labels_start_anew_in_each_map():
    on = torch.tensor([[[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, 1]]], dtype=torch.bool)
    assert label_with_scipy(on, 4).tolist() == [[[0, 0, 1], [0, 2, 0], [0, 0, 0]], [[0] * 3, [0] * 3, [0, 0, 0]]]
    assert label_with_scipy(on, 8).max() == 0
    by_largest_cell = [[[0, 0, 2], [0, 4, 0], [0, 0, 0]], [[0] * 3, [0] * 3, [0, 0, 8]]]
    for label in (label_by_propagation, label_by_closure):
        assert label(on, 4).tolist() == by_largest_cell
        assert label(on, 8)[0].tolist() == [[4, 0, 4], [0, 4, 0], [0, 0, 0]]


def test_marks_spread_to_corners_with_eight_neighbours_only():
    marks = torch.zeros(1, 3, 3)
    marks[0, 1, 1] = 5
    assert propagate_marks(marks, 4)[0].tolist() == [[0, 5, 0], [5, 5, 5], [0, 5, 0]]
    assert propagate_marks(marks, 8)[0].tolist() == [[5, 5, 5]] * 3


def test_no_map_gives_no_label():
    for label in (label_components, label_with_scipy, label_by_propagation, label_by_closure):
        assert label(torch.zeros(0, 2, 3, dtype=torch.bool), 8).shape == (0, 2, 3)


def test_on_the_cpu_labels_are_scipys():
    on = torch.tensor([[[1, 0, 1]]], dtype=torch.bool)
    assert label_components(on, 8).tolist() == [[[0, 0, 1]]]
