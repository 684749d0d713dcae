"""Norms of the objectives' gradients, and when SPAN's weight is halved."""

import pytest
import torch

from medprior.pretrain.objectives.gradient_guard import GradientGuard, compute_gradient_norms

from ..scenes import learner_of, pictures, scene_of, tiny


def test_guard_halves_only_where_span_asks_too_much():
    guard = GradientGuard()
    for _ in range(5):
        guard.update_norms(torch.tensor(0.4), torch.tensor(1.0))
    assert guard.factor.item() == 1
    for _ in range(3):
        guard.update_norms(torch.tensor(4.0), torch.tensor(1.0))
    assert guard.factor.item() < 1
    calm = guard.factor.item()
    for _ in range(60):
        guard.update_norms(torch.tensor(0.1), torch.tensor(1.0))
    assert guard.factor.item() >= calm / 8
    settled = guard.factor.item()
    guard.update_norms(torch.tensor(0.1), torch.tensor(1.0))
    assert guard.factor.item() == settled


def test_gradient_norms_are_those_of_separate_backward_passes():
    settings = tiny(recipe="span+sar+loca")
    learner = learner_of(settings)
    images, masks = pictures(4)
    scene = scene_of(settings, learner, images, masks)
    block = list(learner.student.backbone.blocks[-1].parameters())
    weights = learner.weights(0.3)
    losses, _ = learner.compute_losses(learner.student, scene)
    norms = compute_gradient_norms(losses, weights, block)
    for name in losses:
        learner.zero_grad(set_to_none=True)
        alone, _ = learner.compute_losses(learner.student, scene)
        (weights[name] * alone[name]).backward()
        squares = sum(float(p.grad.square().sum()) for p in block if p.grad is not None)
        assert norms[name].item() == pytest.approx(squares**0.5, rel=1e-4), name
    assert min(value.item() for value in norms.values()) > 0
