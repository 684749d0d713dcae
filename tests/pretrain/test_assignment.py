"""Which heads follow which structures, and how hard: assignment and guard."""

import pytest
import torch

from medprior.pretrain.objectives.divergences import AttentionComparison, build_attention_target, kl_divergence
from medprior.pretrain.objectives.gradient_guard import GradientGuard, compute_gradient_norms
from medprior.pretrain.objectives.head_assignment import assign_heads, find_best_assignment
from medprior.pretrain.objectives.span import compute_mass_penalty

from ..methods.scenes import learner_of, pictures, scene_of, tiny

NAMES = ("left_lung", "right_lung", "heart")


def test_first_heads_and_with_life_the_last():
    assert assign_heads(NAMES, 6, None) == {"left_lung": 0, "right_lung": 1, "heart": 2}
    assert assign_heads(NAMES, 9, None, life=True) == {
        "left_lung": 6, "right_lung": 7, "heart": 8,
    }  # fmt: skip


def test_best_assignment_is_the_best_of_all():
    torch.manual_seed(0)
    cost = torch.rand(3, 6)
    found = find_best_assignment(cost)
    least = min(
        float(cost[0, a] + cost[1, b] + cost[2, c])
        for a in range(6) for b in range(6) for c in range(6) if len({a, b, c}) == 3
    )  # fmt: skip
    assert len(set(found)) == 3
    assert sum(float(cost[k, head]) for k, head in enumerate(found)) == pytest.approx(least)


def test_heads_are_assigned_once_after_a_hundredth_of_the_run():
    settings = tiny(recipe="span+sar", span={"assignment": "hungarian"}, steps=296)
    learner = learner_of(settings, (-1, -1, -1))
    span = learner.objectives["span"]
    assert span.assign_at == 3
    images, masks = pictures(4)
    costs = []
    for step in range(4):
        scene = scene_of(settings, learner, images, masks, step)
        losses, logs = learner.compute_losses(learner.student, scene)
        pending = step < 3
        assert (losses["span"].item() == 0) is pending
        assert ("span_kl_0" in logs) is not pending
        if pending:
            tokens = learner.student.backbone(scene.globals_.pixels, True)
            (followed,), _ = span.targets(scene)
            target = build_attention_target(followed.cover, 0.02)
            each = [
                kl_divergence(AttentionComparison(tokens.cls_logits[:, [h] * 3], followed.cover, target))
                for h in range(6)
            ]
            costs.append((torch.stack(each, -1), followed.gate))
        learner.commit_step()
    sums = sum((each * gate[..., None]).sum(0) for each, gate in costs)
    mean = sums / sum(gate.sum(0) for _, gate in costs)[:, None]
    assert span.heads.tolist() == find_best_assignment(mean)
    assert torch.equal(learner.structure_heads(), span.heads)


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


def test_guard_scales_the_weight_and_survives_in_the_state():
    settings = tiny(recipe="span", span={"guard": True})
    learner = learner_of(settings)
    span = learner.objectives["span"]
    span.guard.update_norms(torch.tensor(1.0), torch.tensor(0.1))
    assert learner.weights(0.5)["span"] == pytest.approx(0.15)
    other = learner_of(settings)
    other.load_state_dict(learner.state_dict())
    assert other.weights(0.5)["span"] == pytest.approx(0.15)


def test_gradient_norms_are_those_of_separate_backward_passes():
    settings = tiny(recipe="span+sar+loca")
    learner = learner_of(settings)
    images, masks = pictures(4)
    scene = scene_of(settings, learner, images, masks)
    block = list(learner.student.backbone.blocks[-1].parameters())
    weights = learner.weights(0.3)
    losses, _ = learner.compute_losses(learner.student, scene)
    found = compute_gradient_norms(losses, weights, block)
    for name in losses:
        learner.zero_grad(set_to_none=True)
        alone, _ = learner.compute_losses(learner.student, scene)
        (weights[name] * alone[name]).backward()
        squares = sum(float(p.grad.square().sum()) for p in block if p.grad is not None)
        assert found[name].item() == pytest.approx(squares**0.5, rel=1e-4), name
    assert min(value.item() for value in found.values()) > 0


def test_penalty_on_heads_that_hide_their_mass():
    mass = torch.tensor([0.9, 0.5, 0.25], requires_grad=True)
    penalty = compute_mass_penalty(mass)
    assert penalty.tolist() == pytest.approx([0, 0, 0.6931], abs=1e-4)
    penalty.sum().backward()
    assert mass.grad.tolist() == pytest.approx([0, 0, -4], abs=1e-3)
