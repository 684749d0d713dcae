"""Forms of SPAN's loss against a slow NumPy twin; their zeros, gradients and hidden patches."""

import math

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.divergences import (
    DIVERGENCES,
    AttentionComparison,
    build_attention_target,
    compute_top_mass_iou,
    find_densest_patches,
    kl_divergence,
)

from ..slow_twins import softmax


def twin_span(logits, patches, gate, epsilon):
    divergences = []
    for v, k in zip(*np.nonzero(gate), strict=True):
        target = patches[v, k] / patches[v, k].sum()
        target = (1 - epsilon) * target + epsilon / len(target)
        divergences.append((target * np.log(target / softmax(logits[v, k]))).sum())
    return np.mean(divergences)


def test_span_against_twin():
    rng = np.random.default_rng(2)
    logits, patches = (
        torch.tensor(rng.normal(size=(3, 2, 16))),
        torch.tensor(rng.random((3, 2, 16))),
    )
    gate = torch.tensor([[True, False], [True, True], [False, True]])
    each = kl_divergence(AttentionComparison(logits, patches, build_attention_target(patches, 0.02)))
    twin = twin_span(logits.numpy(), patches.numpy(), gate.numpy(), 0.02)
    assert each[gate].mean().item() == pytest.approx(twin, rel=1e-5)


def test_hidden_patches_are_as_if_they_were_not_there():
    """Every divergence of a masked view is that of the view cut down to its seen patches."""
    torch.manual_seed(0)
    logits, cover = torch.randn(2, 2, 12), torch.rand(2, 2, 12)
    seen = torch.tensor([True] * 7 + [False] * 5)[None, None].expand(2, 1, 12)
    shown = cover * seen
    masked = AttentionComparison(logits, shown, build_attention_target(shown, 0.02, seen), seen, 0.5)
    small = AttentionComparison(
        logits[..., :7], cover[..., :7], build_attention_target(cover[..., :7], 0.02), None, 0.5
    )
    for name, divergence in DIVERGENCES.items():
        assert torch.allclose(divergence(masked), divergence(small), atol=1e-6), name


@pytest.mark.parametrize("name", ["kl", "js", "mse"])
def test_divergence_is_zero_at_the_target_and_positive_elsewhere(name):
    cover = torch.rand(2, 1, 9)
    target = build_attention_target(cover, 0.02)
    assert DIVERGENCES[name](AttentionComparison(target.log(), cover, target)).abs().max() < 1e-6
    assert DIVERGENCES[name](AttentionComparison(torch.randn(2, 1, 9), cover, target)).min() > 1e-4


def test_region_lets_the_shape_inside_free_down_to_the_floor():
    cover = torch.zeros(1, 1, 16)
    cover[..., :8] = 1
    target = build_attention_target(cover, 0.0)
    half, one = torch.full((1, 1, 16), -30.0), torch.full((1, 1, 16), -30.0)
    half[..., :4] = 0
    one[..., 0] = 0
    region = DIVERGENCES["region"]
    assert region(AttentionComparison(half, cover, target, None, 0.5)).item() == pytest.approx(0, abs=1e-5)
    excess = 0.5 * np.log(8)
    assert region(AttentionComparison(one, cover, target, None, 0.5)).item() == pytest.approx(excess, abs=1e-4)
    assert region(AttentionComparison(one, cover, target, None, 0.0)).item() == pytest.approx(0, abs=1e-5)


def test_overlaps_at_perfect_attention():
    cover = torch.zeros(1, 1, 16)
    cover[..., 3:8] = 1
    perfect = AttentionComparison(cover * 40, cover, build_attention_target(cover, 0.0))
    for name in ("dice", "iou"):
        assert DIVERGENCES[name](perfect).item() == pytest.approx(0, abs=1e-5)
    assert DIVERGENCES["bce"](perfect).item() < 1e-4
    assert compute_top_mass_iou(perfect, 0.9).item() == 1
    assert compute_top_mass_iou(perfect, 0.5).item() == pytest.approx(3 / 5)
    assert compute_top_mass_iou(AttentionComparison(-cover * 40, cover, build_attention_target(cover, 0.0))).item() == 0


def compared():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 25, dtype=torch.float64, requires_grad=True)
    cover = torch.rand(3, 2, 25, dtype=torch.float64)
    return logits, cover, build_attention_target(cover, 0.02)


def test_gradient_is_attention_minus_target():
    logits, cover, target = compared()
    # the loss works in float32, on purpose
    kl_divergence(AttentionComparison(logits, cover, target)).sum().backward()
    assert torch.allclose(logits.grad, logits.detach().softmax(-1) - target, atol=1e-6)


def test_zero_at_the_target():
    _, cover, target = compared()
    logits = (target.log() + 3.0).requires_grad_()
    loss = kl_divergence(AttentionComparison(logits, cover, target))
    loss.sum().backward()
    assert loss.abs().max() < 1e-6
    assert logits.grad.abs().max() < 1e-6


def one_pair(attention, cover, epsilon=0.0, visible=None):
    """A comparison of one view and one structure, from the attention itself."""
    cover = torch.tensor([[cover]])
    logits = torch.tensor([[attention]]).log().clamp_min(-60)
    return AttentionComparison(logits, cover, build_attention_target(cover, epsilon, visible), visible)


def test_target_is_the_cover_with_a_uniform_share():
    cover = torch.tensor([[[0.25, 0.75, 0.0, 0.0]]])
    assert build_attention_target(cover, 0.2).flatten().tolist() == pytest.approx([0.25, 0.65, 0.05, 0.05])
    visible = torch.tensor([[[True, True, False, False]]])
    target = build_attention_target(cover, 0.2, visible)
    assert target.flatten().tolist() == pytest.approx([0.3, 0.7, 0, 0])
    assert build_attention_target(torch.zeros(1, 1, 4), 0.2).flatten().tolist() == pytest.approx([0.05] * 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kl", 0.5 * math.log(0.5 / 0.4) + 0.5 * math.log(0.5 / 0.1)),
        ("region", -math.log(0.5)),
        ("mse", 0.01 + 0.16 + 0.16 + 0.01),
        # over its largest value the attention is 1, 1/4, 1, 1/4: overlap 1.25, sum 2.5 + 2
        ("dice", 1 - 2.5 / 4.5),
        ("iou", 1 - 1.25 / 3.25),
    ],
)
def test_by_hand(name, value):
    pair = one_pair([0.4, 0.1, 0.4, 0.1], [1.0, 1.0, 0.0, 0.0])
    assert DIVERGENCES[name](pair).item() == pytest.approx(value, abs=1e-5)


def test_jensen_shannon_of_disjoint_distributions_is_log_2():
    pair = one_pair([0.0, 0.0, 0.5, 0.5], [1.0, 1.0, 0.0, 0.0])
    assert DIVERGENCES["js"](pair).item() == pytest.approx(math.log(2), abs=1e-5)


def test_binary_cross_entropy_of_centred_scores():
    logits, cover = torch.tensor([[[5.0, 3.0]]]), torch.tensor([[[1.0, 0.0]]])
    pair = AttentionComparison(logits, cover, build_attention_target(cover, 0.0))
    assert DIVERGENCES["bce"](pair).item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_densest_patches_are_the_fewest_that_hold_the_share():
    mass = torch.tensor([0.125, 0.5, 0.125, 0.25])
    assert find_densest_patches(mass, 0.5).tolist() == [False, True, False, False]
    assert find_densest_patches(mass, 0.51).tolist() == [False, True, False, True]
    assert find_densest_patches(mass, 0.75).tolist() == [False, True, False, True]
    assert find_densest_patches(mass, 1.0).all()


def test_a_patch_half_covered_is_of_the_prior():
    pair = one_pair([0.9, 0.05, 0.05], [0.5, 0.49, 1.0])
    assert compute_top_mass_iou(pair, 0.8).item() == pytest.approx(1 / 2)
