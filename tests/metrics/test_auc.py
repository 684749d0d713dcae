import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from medprior.metrics.auc import compute_ap, compute_auc, count_positives_negatives
from tests.evaluate.slow_twins import slow_auc, slow_average_precision

EDGE_SCORES = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.0, 1 + 2**-52, 1e308, -1e308]) | st.floats(-1, 1)
truths = st.lists(st.sampled_from([0.0, 1.0, float("nan")]), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(truths, st.integers(1, 6), st.randoms(use_true_random=False))
def test_both_equal_the_slow_twin_with_ties_and_unknowns(truth, levels, random):
    score = np.array([random.randrange(levels) / 7 for _ in truth])
    t = np.array(truth)
    np.testing.assert_allclose(compute_auc(t, score), slow_auc(truth, score))
    np.testing.assert_allclose(compute_ap(t, score), slow_average_precision(truth, score))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, 60, elements=st.floats(-1e3, 1e3)), hnp.arrays(bool, 60))
def test_both_equal_sklearn(score, positive):
    truth = positive.astype(float)
    truth[:2] = 0, 1
    np.testing.assert_allclose(compute_auc(truth, score), roc_auc_score(truth, score), atol=1e-12)
    np.testing.assert_allclose(compute_ap(truth, score), average_precision_score(truth, score), atol=1e-12)


def test_both_equal_monai():
    from monai.metrics import compute_average_precision, compute_roc_auc

    rng = np.random.default_rng(0)
    truth = (rng.random((200, 4)) < 0.3).astype(np.float32)
    score = np.round(truth * 0.3 + rng.random((200, 4)), 2).astype(np.float32)
    pair = torch.from_numpy(score), torch.from_numpy(truth)
    ours = np.mean([compute_auc(truth[:, c], score[:, c]) for c in range(4)])
    assert ours == pytest.approx(float(compute_roc_auc(*pair, average="macro")), abs=1e-6)
    ours = np.mean([compute_ap(truth[:, c], score[:, c]) for c in range(4)])
    assert ours == pytest.approx(float(compute_average_precision(*pair, average="macro")), abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(np.float64, 12, elements=EDGE_SCORES), hnp.arrays(bool, 12))
def test_auc_follows_rank_only_and_turns_with_the_sign(score, positive):
    """Zeros of both signs are equal; the smallest and largest numbers are not."""
    truth = positive.astype(float)
    truth[:2] = 0, 1
    assert compute_auc(truth, rankdata(score)) == compute_auc(truth, score)
    assert compute_ap(truth, rankdata(score)) == compute_ap(truth, score)
    np.testing.assert_allclose(compute_auc(truth, -score), 1 - compute_auc(truth, score))


def test_an_absent_class_is_nan_and_counted():
    truth = np.array([[1.0, 0, np.nan], [1, 1, np.nan]])
    assert np.isnan(compute_auc(truth[:, 0], np.array([0.1, 0.2])))
    assert np.isnan(compute_ap(truth[:, 0], np.array([0.1, 0.2])))
    assert np.isnan(compute_auc(truth[:, 2], np.array([0.1, 0.2])))
    positives, negatives = count_positives_negatives(truth)
    assert positives.tolist() == [2, 1, 0]
    assert negatives.tolist() == [0, 1, 0]


def test_perfect_and_chance():
    truth = np.repeat([0.0, 1.0], 500)
    assert compute_auc(truth, truth) == compute_ap(truth, truth) == 1
    assert compute_auc(truth, np.zeros(1000)) == 0.5
    assert compute_ap(truth, np.zeros(1000)) == 0.5
