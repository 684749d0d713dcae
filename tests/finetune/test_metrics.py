import numpy as np
import pytest
import torch

from medprior.finetune.metrics import (
    build_mean_auc_metric,
    build_mean_dice_metric,
    compute_dice_per_image,
    compute_known_mean,
    compute_label_aucs,
)


def slow_auc(scores, truth):
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[truth == 1] for n in scores[truth == 0]]
    return np.mean(wins) if wins else np.nan


def test_auc_is_its_twin_with_ties_unknown_and_absent_classes():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (40, 4)) / 5
    truth = rng.choice([0, 1, 0.5, np.nan], (40, 4))
    truth[:, 3] = 0
    expected = [slow_auc(s, t) for s, t in zip(scores.T, truth.T, strict=True)]
    np.testing.assert_allclose(compute_label_aucs(scores, truth), expected)
    assert np.isnan(expected[3])
    assert compute_known_mean(np.array(expected)) == pytest.approx(np.mean(expected[:3]))
    assert np.isnan(compute_known_mean(np.array([np.nan])))


def test_dice_is_its_twin():
    rng = np.random.default_rng(1)
    probability, truth = rng.random((3, 2, 5, 5)), (rng.random((3, 2, 5, 5)) > 0.5).astype(float)
    truth[0, 0] = np.nan
    truth[1, 1] = 0
    probability[1, 1] = 0
    cuts = [0.3, 0.5]
    found = compute_dice_per_image(torch.tensor(probability), torch.tensor(truth), torch.tensor(cuts))
    for b in range(3):
        for k in range(2):
            for t, cut in enumerate(cuts):
                called, wanted = probability[b, k] >= cut, truth[b, k]
                empty = np.isnan(wanted).any() or called.sum() + wanted.sum() == 0
                value = np.nan if empty else 2 * called[wanted == 1].sum() / (
                    called.sum() + wanted.sum()
                )  # fmt: skip
                np.testing.assert_allclose(found[b, k, t], value, rtol=1e-6)


def test_metrics_gather_batches_and_pass_over_what_is_absent():
    logits, truth = (
        torch.tensor([[2.0, 1], [1, 0], [0, 1]]),
        torch.tensor([[1.0, 0], [0, 0], [1, 0]]),
    )
    metric = build_mean_auc_metric()
    metric.reset()
    metric.update((logits[:1], truth[:1]))
    metric.update((logits[1:], truth[1:]))
    assert metric.compute() == 0.5
    pixels = torch.zeros(2, 2, 4, 4)
    pixels[:, 0, :2] = 1
    known = pixels.clone()
    known[1] = torch.nan
    metric = build_mean_dice_metric()
    metric.reset()
    metric.update((pixels * 8 - 4, known))
    assert metric.compute() == 1.0


def test_a_pixel_at_the_threshold_is_called_and_one_half_covered_is_true():
    probability = torch.tensor([[[[0.5, 0.49], [0.5, 0.5]]]])
    targets = torch.tensor([[[[0.5, 0.5], [0.49, 0.0]]]])
    found = compute_dice_per_image(probability, targets, torch.tensor([0.5, 0.49]))
    assert found[0, 0].tolist() == pytest.approx([2 * 1 / (3 + 2), 2 * 2 / (4 + 2)])


def test_structures_may_have_thresholds_of_their_own():
    probability = torch.full((1, 2, 2, 2), 0.5)
    found = compute_dice_per_image(probability, torch.ones(1, 2, 2, 2), torch.tensor([[0.4], [0.6]]))
    assert found[0].tolist() == [[1.0], [0.0]]


def test_mean_dice_is_over_structures_not_over_pairs():
    ones = torch.ones(3, 2, 2, 2)
    truth = ones.clone()
    truth[1:, 1] = torch.nan
    logits = ones * 4
    logits[0, 1] = -4
    metric = build_mean_dice_metric()
    metric.reset()
    metric.update((logits, truth))
    assert metric.compute() == 0.5  # structure means 1 and 0; pairs would give 3 / 4


def test_scores_that_are_not_finite_have_no_auc():
    with pytest.raises(ValueError, match="not finite"):
        compute_label_aucs(np.array([[0.1], [np.nan]]), np.array([[0.0], [1.0]]))
