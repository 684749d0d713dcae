import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score

from medprior.metrics.overlap import compute_dice, compute_hausdorff95, convert_dice_to_iou
from tests.evaluate.slow_twins import slow_dice, slow_hd95

masks = hnp.arrays(bool, (9, 7))


@settings(max_examples=80, deadline=None)
@given(masks, masks)
def test_dice_and_iou_equal_twin_and_sklearn(a, b):
    value = compute_dice(a, b)
    if not b.any():
        assert np.isnan(value)
        return
    assert value == pytest.approx(slow_dice(a, b))
    assert value == pytest.approx(f1_score(b.ravel(), a.ravel()))
    assert convert_dice_to_iou(value) == pytest.approx(jaccard_score(b.ravel(), a.ravel()))


def test_dice_equals_monai():
    from monai.metrics import DiceMetric

    rng = np.random.default_rng(0)
    a, b = rng.random((2, 5, 16, 16)) > 0.6
    b[3] = False
    tensors = [torch.from_numpy(x)[:, None].float() for x in (a, b)]
    expected = DiceMetric(include_background=True)(*tensors)[:, 0].numpy()
    np.testing.assert_allclose(compute_dice(a, b), expected, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(masks, masks, st.floats(0.3, 2), st.floats(0.3, 2))
def test_hd95_equals_twin_in_mm(a, b, row, column):
    a[4, 3] = b[4, 3] = True
    distance = compute_hausdorff95(a[None], b[None], [(row, column)])[0]
    assert distance == pytest.approx(slow_hd95(a, b, (row, column)), rel=1e-4)


def test_hd95_of_nothing():
    full, none = np.ones((1, 30, 40), bool), np.zeros((1, 30, 40), bool)
    assert np.isnan(compute_hausdorff95(full, none)[0])
    assert compute_hausdorff95(none, full)[0] == pytest.approx(50)
    assert compute_hausdorff95(none, full, [(2.0, 2.0)])[0] == pytest.approx(100)
    assert compute_hausdorff95(full, full)[0] == 0
