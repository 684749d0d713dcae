"""LOCA's targets (arXiv 2212.02400): the reference's cell of each query patch, and the visible patches."""

import numpy as np
from scipy.ndimage import map_coordinates

from medprior.geometry import Views
from medprior.pretrain.objectives.positions import locate_patches, sample_visible_patches


def view(box, flip=False, grid=(14, 14)):
    return Views(np.array([box], dtype=float), np.array([flip]), grid)


def cells(reference, queries):
    return locate_patches(reference, queries)[0]


def test_known_targets():
    box = [0.1, 0.2, 0.6, 0.5]
    whole = view([0, 0, 1, 1])
    assert cells(view(box), view(box)).tolist() == list(range(196))
    rows = np.arange(196).reshape(14, 14)
    assert cells(view(box), view(box, flip=True)).tolist() == rows[:, ::-1].ravel().tolist()
    assert cells(view(box, flip=True), view(box)).tolist() == rows[:, ::-1].ravel().tolist()
    assert cells(view([0, 0, 0.4, 0.4]), view([0.5, 0.5, 0.4, 0.4])).tolist() == [-1] * 196
    corner = cells(whole, view([0.5, 0.5, 0.5, 0.5], grid=(7, 7)))
    assert corner[:7].tolist() == list(range(105, 112))


def test_targets_are_those_of_an_index_image():
    """The authors' way: cut an image of cell numbers, nearest neighbour."""
    rng = np.random.default_rng(0)
    agree = []
    for _ in range(60):
        side = rng.uniform(0.3, 0.9, 2)
        reference, query = (
            view([*(rng.random(2) * (1 - side)), *side], rng.random() < 0.5, grid) for grid in ((14, 14), (6, 6))
        )
        index = np.full((700, 700), -1.0)
        y, x = (np.indices((700, 700)) + 0.5) / 700
        box = reference.box[0]
        v, u = (y - box[0]) / box[2], (x - box[1]) / box[3]
        inside = (v >= 0) & (v < 1) & (u >= 0) & (u < 1)
        u = 1 - u if reference.flip[0] else u
        number = np.floor(v * 14) * 14 + np.minimum(np.floor(u * 14), 13)
        index[inside] = number[inside]
        centres = query.patch_centres()[0] * 700 - 0.5
        looked_up = map_coordinates(index, centres.T, order=0, mode="nearest")
        agree.append(np.mean(looked_up == cells(reference, query)))
    assert np.mean(agree) >= 0.98


def test_visible_patches():
    rng = np.random.default_rng(0)
    chosen = sample_visible_patches(rng, 500, 196, 0.2, "consecutive")
    assert chosen.shape == (500, 39)
    assert (np.diff(chosen, axis=1) == 1).all()
    assert chosen.min() == 0
    assert chosen.max() == 195
    chosen = sample_visible_patches(rng, 500, 196, 0.2, "random")
    assert all(len(set(row)) == 39 for row in chosen.tolist())
    assert (np.diff(chosen, axis=1) != 1).any()


def test_centres_are_sorted_into_cells_by_row_and_column():
    """Of the whole image's 2 x 2 centres the first lies in the last cell of the upper left quarter."""
    quarter, whole = view([0, 0, 0.5, 0.5], grid=(2, 2)), view([0, 0, 1, 1], grid=(2, 2))
    assert cells(quarter, whole).tolist() == [3, -1, -1, -1]
    assert cells(whole, quarter).tolist() == [0, 0, 0, 0]


def test_a_mirrored_reference_of_three_columns():
    reference, query = view([0, 0, 1, 1], flip=True, grid=(2, 3)), view([0, 0, 1, 1], grid=(2, 3))
    assert cells(reference, query).tolist() == [2, 1, 0, 5, 4, 3]


def test_each_query_has_its_own_reference():
    boxes = np.array([[0, 0, 1, 1], [0.5, 0, 0.5, 1]], dtype=float)
    pair = Views(boxes, np.array([False, False]), (2, 1))
    assert locate_patches(pair, pair.take(np.array([1, 0]))).tolist() == [[1, 1], [-1, 1]]


def test_one_patch_at_least_is_visible_and_the_last_start_is_used():
    rng = np.random.default_rng(0)
    assert sample_visible_patches(rng, 4, 9, 0.01, "random").shape == (4, 1)
    assert sample_visible_patches(rng, 4, 9, 0.01, "consecutive").shape == (4, 1)
    assert {tuple(row) for row in sample_visible_patches(rng, 30, 3, 0.7, "consecutive").tolist()} == {(0, 1), (1, 2)}
    assert (sample_visible_patches(rng, 1, 3, 1.0, "consecutive") == [[0, 1, 2]]).all()
