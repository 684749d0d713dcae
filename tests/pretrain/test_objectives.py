"""Each loss against a slow NumPy twin, and the properties the methods promise."""

import numpy as np
import pytest
import torch

from medprior.pretrain.dino import centred_softmax, dino_loss, entropy, sinkhorn, updated_centre
from medprior.pretrain.koleo import koleo_loss
from medprior.pretrain.span import span_kl, visible


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
    centre = updated_centre(torch.zeros(6), scores, 0.9)
    assert torch.allclose(centre, 0.1 * scores.reshape(-1, 6).mean(0))
    twin = softmax((scores.numpy() - centre.numpy()) / 0.04)
    assert np.allclose(centred_softmax(scores, centre, 0.04).numpy(), twin, atol=1e-5)


def test_sinkhorn_marginals():
    torch.manual_seed(0)
    q = sinkhorn(torch.randn(64, 32), 0.5, iterations=30)
    assert torch.allclose(q.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(q.sum(0), torch.full((32,), 2.0), atol=1e-3)


def test_entropy_bounds():
    assert entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(np.log(8))
    assert entropy(torch.eye(8)).item() == 0


def test_koleo_against_twin():
    x = np.random.default_rng(1).normal(size=(6, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = [min(np.linalg.norm(unit[i] - unit[j]) for j in range(6) if j != i) for i in range(6)]
    twin = -np.mean(np.log(np.array(nearest) + 1e-8))
    assert koleo_loss(torch.tensor(x)).item() == pytest.approx(twin, rel=1e-4)


def test_koleo_survives_equal_rows():
    x = torch.ones(4, 3, requires_grad=True)
    koleo_loss(x).backward()
    assert torch.isfinite(x.grad).all()


def twin_span(logits, patches, gate, epsilon):
    found = []
    for v, k in zip(*np.nonzero(gate), strict=True):
        target = patches[v, k] / patches[v, k].sum()
        target = (1 - epsilon) * target + epsilon / len(target)
        found.append((target * np.log(target / softmax(logits[v, k]))).sum())
    return np.mean(found)


def test_span_against_twin_and_gradient_is_attention_minus_target():
    rng = np.random.default_rng(2)
    logits = torch.tensor(rng.normal(size=(3, 2, 16)), requires_grad=True)
    patches = torch.tensor(rng.random((3, 2, 16)))
    gate = torch.tensor([[True, False], [True, True], [False, True]])
    loss, each = span_kl(logits, patches, gate, 0.02)
    assert loss.item() == pytest.approx(
        twin_span(logits.detach().numpy(), patches.numpy(), gate.numpy(), 0.02), rel=1e-5
    )
    assert each.shape == (2,)
    loss.backward()
    target = patches / patches.sum(-1, keepdim=True) * 0.98 + 0.02 / 16
    expected = (logits.detach().softmax(-1) - target) * gate[..., None] / gate.sum()
    assert torch.allclose(logits.grad, expected, atol=1e-6)


def test_span_is_zero_at_the_target_and_ignores_closed_gates():
    patches = torch.rand(2, 1, 9)
    target = (patches / patches.sum(-1, keepdim=True)).log()
    gate = torch.ones(2, 1, dtype=torch.bool)
    assert span_kl(target, patches, gate, 0.0)[0].item() == pytest.approx(0, abs=1e-6)
    logits = torch.randn(2, 1, 9, requires_grad=True)
    span_kl(logits, torch.zeros(2, 1, 9), torch.zeros(2, 1), 0.02)[0].backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_gate_needs_a_quarter_of_the_structure_and_two_percent_of_the_view():
    patches = torch.zeros(4, 1, 100)
    patches[0, 0, :50] = 1  # all of it
    patches[1, 0, :10] = 1  # a fifth of it
    patches[2, 0, :1] = 1  # all of it, but 1 % of the view
    source = torch.tensor([[0.5], [0.5], [0.01], [0.5]])
    assert visible(patches, source, 0.25, 0.02).flatten().tolist() == [True, False, False, False]
