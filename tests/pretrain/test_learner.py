"""Student and teacher through one step: who gets a gradient, what a skipped step leaves, how the teacher follows."""

import copy

import torch

from .scenes import take_dino_step


def test_teacher_has_no_gradient():
    _, learner, _, losses, _ = take_dino_step()
    sum(losses.values()).backward()
    assert all(p.grad is None for p in learner.teacher.parameters())
    assert all(p.grad is not None for p in learner.student.head.parameters())


def test_a_step_that_is_not_finite_leaves_no_trace():
    _, learner, scene, _, _ = take_dino_step()
    learner.discard_step()
    before = copy.deepcopy(learner.state_dict())
    scene.globals_.pixels[0] = torch.nan
    losses, _ = learner.compute_losses(learner.student, scene)
    assert not torch.isfinite(losses["dino"])
    learner.discard_step()
    after = learner.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_teacher_follows_by_the_formula():
    _, learner, _, _, _ = take_dino_step()
    with torch.no_grad():
        for parameter in learner.student.parameters():
            parameter.add_(torch.randn_like(parameter))
    old = {n: p.clone() for n, p in learner.teacher.named_parameters()}
    new = dict(learner.student.named_parameters())
    learner.update_teacher(0.996)
    for name, parameter in learner.teacher.named_parameters():
        expected = 0.996 * old[name] + 0.004 * new[name]
        assert torch.allclose(parameter, expected, atol=1e-6), name
