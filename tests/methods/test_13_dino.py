"""DINO (methods 11, point 13)."""

import copy

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.dino import dino_loss, update_centre

from .scenes import learner_of, pictures, scene_of, tiny


def test_collapse_is_log_k():
    loss = dino_loss(torch.zeros(4, 2, 4096), torch.full((2, 2, 4096), 1 / 4096), 0.1)
    assert loss.item() == pytest.approx(8.3178, abs=1e-4)


def test_no_view_is_compared_with_itself():
    """With two views, swapping the student's makes the pair (g, v != g) the aligned one."""
    teacher = torch.eye(2).reshape(2, 1, 2)
    aligned = 10 * teacher.clone()
    assert dino_loss(aligned.flip(0), teacher, 1.0) < 1e-3
    assert dino_loss(aligned, teacher, 1.0) > 5


def step():
    settings = tiny(dino={"centre_momentum": 0.9})
    learner = learner_of(settings)
    scene = scene_of(settings, learner, pictures(4)[0])
    losses, logs = learner.compute_losses(learner.student, scene)
    return settings, learner, scene, losses, logs


def test_teacher_has_no_gradient():
    _, learner, _, losses, _ = step()
    sum(losses.values()).backward()
    assert all(p.grad is None for p in learner.teacher.parameters())
    assert all(p.grad is not None for p in learner.student.head.parameters())


def test_centre_moves_when_the_step_is_taken_and_only_then():
    settings, learner, scene, _, _ = step()
    dino = learner.objectives["dino"]
    assert torch.equal(dino.centre, torch.zeros(32))
    learner.discard_step()
    learner.commit_step()
    assert torch.equal(dino.centre, torch.zeros(32))
    learner.compute_losses(learner.student, scene)
    learner.commit_step()
    with torch.no_grad():
        _, scores = learner.teacher([scene.globals_.pixels], 0)
    assert torch.allclose(dino.centre, 0.1 * scores.mean(0), atol=1e-6)
    moved = update_centre(torch.ones(32), scores.mean(0), settings.dino.centre_momentum)
    assert torch.allclose(moved, 0.9 + 0.1 * scores.mean(0))


def test_a_step_that_is_not_finite_leaves_no_trace():
    _, learner, scene, _, _ = step()
    learner.discard_step()
    before = copy.deepcopy(learner.state_dict())
    scene.globals_.pixels[0] = torch.nan
    losses, _ = learner.compute_losses(learner.student, scene)
    assert not torch.isfinite(losses["dino"])
    learner.discard_step()
    after = learner.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_teacher_follows_by_the_formula():
    _, learner, _, _, _ = step()
    with torch.no_grad():
        for parameter in learner.student.parameters():
            parameter.add_(torch.randn_like(parameter))
    old = {n: p.clone() for n, p in learner.teacher.named_parameters()}
    new = dict(learner.student.named_parameters())
    learner.update_teacher(0.996)
    for name, parameter in learner.teacher.named_parameters():
        expected = 0.996 * old[name] + 0.004 * new[name]
        assert torch.allclose(parameter, expected, atol=1e-6), name


def test_health_is_logged():
    *_, logs = step()
    assert 0 < logs["teacher_entropy"] < np.log(32)
    assert logs["teacher_entropy"] <= logs["mean_entropy"] + 1e-6
    assert logs["feature_std"] > 0
