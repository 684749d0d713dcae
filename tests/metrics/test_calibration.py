import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medprior.metrics.bootstrap import Resamples
from medprior.metrics.calibration import (
    assign_bins,
    compute_ece,
    compute_logit,
    compute_reliability,
    estimate_ece,
)
from tests.evaluate.slow_twins import slow_ece

EDGE_PROBABILITIES = st.sampled_from([0.0, 5e-324, 0.25, 0.5, np.nextafter(0.5, 0), 1 - 2**-53, 1.0]) | st.floats(0, 1)


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.float64, 12, elements=st.sampled_from([0.0, 1.0, float("nan")])),
    hnp.arrays(np.float64, 12, elements=EDGE_PROBABILITIES),
    st.integers(1, 20),
)
def test_ece_equals_twin(truth, probability, bins):
    truth[0] = 1
    expected = slow_ece(truth.tolist(), probability.tolist(), bins)
    assert compute_ece(truth, probability, bins) == pytest.approx(expected)


def test_ece_resamples_equal_ece_of_the_repeated_images_moved_back():
    rng = np.random.default_rng(1)
    truth, probability = rng.integers(0, 2, 40).astype(float), rng.random(40)
    draws = Resamples.draw(rng.integers(0, 20, 40), 30, seed=2)
    estimate = estimate_ece(truth, probability, draws, bins=5)
    counts = np.concatenate(draws.blocks, axis=1)[draws.patient].astype(int)
    raw = []
    for i in range(30):
        again = np.repeat(np.arange(40), counts[:, i])
        raw.append(compute_ece(truth[again], probability[again], 5))
    moved = np.array(raw) - np.mean(raw) + estimate.value
    np.testing.assert_allclose(estimate.samples, np.maximum(moved, 0))
    low, high = estimate.interval()
    assert low <= estimate.value <= high


def test_monai_agrees():
    import torch
    from monai.metrics import calibration_binning

    rng = np.random.default_rng(5)
    probability = rng.random(500)
    truth = (rng.random(500) < probability).astype(float)
    stats = calibration_binning(torch.tensor(probability)[None, None], torch.tensor(truth)[None, None], num_bins=10)
    diagram = compute_reliability(truth, probability, 10)
    np.testing.assert_allclose(diagram.predicted, stats[0][0, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(diagram.observed, stats[1][0, 0].numpy(), atol=1e-6)


def test_bins_hold_their_lower_bound_and_the_last_one_also_1():
    probability = np.array([0.0, 0.24, 0.25, 0.5, 0.75, 1.0, 0.3])
    truth = np.array([0, 0, 0, 0, 1, 1, np.nan])
    assert assign_bins(truth, probability, 4).tolist() == [0, 0, 1, 2, 3, 3, -1]


def test_ece_by_hand():
    """Three images in the upper bin, |0.8 - 2/3|, one in the lower, |0.2 - 1|, one unknown."""
    truth, probability = np.array([1.0, 1.0, 0.0, 1.0, np.nan]), np.array([0.8, 0.9, 0.7, 0.2, 0.6])
    assert compute_ece(truth, probability, 2) == pytest.approx((3 * (0.8 - 2 / 3) + 0.8) / 4)
    diagram = compute_reliability(truth, probability, 2)
    assert diagram.count.tolist() == [1, 3]
    assert diagram.observed.tolist() == pytest.approx([1, 2 / 3])
    assert np.isnan(compute_ece(np.array([np.nan]), np.array([0.5]), 2))


def test_logits_are_finite_and_odd():
    assert compute_logit(np.array([0.5, 0.75, 0.25])) == pytest.approx([0, np.log(3), -np.log(3)])
    assert compute_logit(np.array([0.0, 1.0])) == pytest.approx([-13.8155, 13.8155], abs=1e-4)


def test_there_are_fifteen_bins_unless_told():
    """Two images on either side of 1/15, which lie in one bin of fourteen and in one of sixteen."""
    truth, probability = np.array([1.0, 0.0]), np.array([1 / 15 - 0.001, 1 / 15 + 0.001])
    apart = ((1 - probability[0]) + probability[1]) / 2
    assert len(compute_reliability(truth, probability).count) == 15
    assert compute_ece(truth, probability) == pytest.approx(apart)
    draws = Resamples.draw(["a", "b"], 20, seed=0)
    assert estimate_ece(truth, probability, draws).value == pytest.approx(apart)
    for bins in (14, 16):
        assert compute_ece(truth, probability, bins) == pytest.approx(0.5 - 1 / 15)
