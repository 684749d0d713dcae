"""Each loss against a slow NumPy twin, and the properties the methods promise."""

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.dino import (
    centred_softmax,
    compute_mean_entropy,
    dino_loss,
    update_centre,
)
from medprior.pretrain.objectives.divergences import (
    DIVERGENCES,
    AttentionComparison,
    build_attention_target,
    compute_mass_overlap,
    kl_divergence,
)
from medprior.pretrain.objectives.koleo import koleo_loss


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_dino_against_twin():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(5, 3, 7)), softmax(rng.normal(size=(2, 3, 7)))
    pairs = []
    for g in range(2):
        for v in range(5):
            if v != g:
                log_p = np.log(softmax(student[v] / 0.1))
                pairs.append(np.mean([-(teacher[g, b] * log_p[b]).sum() for b in range(3)]))
    ours = dino_loss(torch.tensor(student), torch.tensor(teacher, dtype=torch.float32), 0.1)
    assert ours.item() == pytest.approx(np.mean(pairs), rel=1e-5)


def test_dino_at_uniform_collapse_is_log_k():
    loss = dino_loss(torch.zeros(4, 2, 256), torch.full((2, 2, 256), 1 / 256), 0.1)
    assert loss.item() == pytest.approx(np.log(256), rel=1e-6)


def test_dino_never_compares_a_view_with_itself():
    """With two views, swapping the student's makes the pair (g, v != g) the aligned one."""
    teacher = torch.eye(2).repeat(1, 1, 1).permute(1, 0, 2).reshape(2, 1, 2)
    aligned = 10 * teacher.clone()
    assert dino_loss(aligned.flip(0), teacher, 1.0) < 1e-3
    assert dino_loss(aligned, teacher, 1.0) > 5


def test_centre_and_softmax():
    scores = torch.randn(2, 4, 6)
    centre = update_centre(torch.zeros(6), scores.reshape(-1, 6).mean(0), 0.9)
    assert torch.allclose(centre, 0.1 * scores.reshape(-1, 6).mean(0))
    twin = softmax((scores.numpy() - centre.numpy()) / 0.04)
    assert np.allclose(centred_softmax(scores, centre, 0.04).numpy(), twin, atol=1e-5)


def test_entropy_bounds():
    assert compute_mean_entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(np.log(8))
    assert compute_mean_entropy(torch.eye(8)).item() == 0


def test_koleo_against_twin():
    x = np.random.default_rng(1).normal(size=(6, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = [min(np.linalg.norm(unit[i] - unit[j]) for j in range(6) if j != i) for i in range(6)]
    twin = -np.mean(np.log(np.array(nearest) + 1e-8))
    assert koleo_loss(torch.tensor(x)).item() == pytest.approx(twin, rel=1e-4)


def twin_span(logits, patches, gate, epsilon):
    found = []
    for v, k in zip(*np.nonzero(gate), strict=True):
        target = patches[v, k] / patches[v, k].sum()
        target = (1 - epsilon) * target + epsilon / len(target)
        found.append((target * np.log(target / softmax(logits[v, k]))).sum())
    return np.mean(found)


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
    assert compute_mass_overlap(perfect, 0.9).item() == 1
    assert compute_mass_overlap(perfect, 0.5).item() == pytest.approx(3 / 5)
    assert compute_mass_overlap(AttentionComparison(-cover * 40, cover, build_attention_target(cover, 0.0))).item() == 0
