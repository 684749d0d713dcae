"""Student and teacher through one step: who gets a gradient, what a skipped step leaves, how the teacher follows."""

import copy

import numpy as np
import pytest
import torch

from medprior.pretrain.learner import build_objectives

from .multi_crops import WITHOUT_DINO, build_multi_crop, learner_of, pictures, take_dino_step, tiny


def test_teacher_has_no_gradient():
    _, learner, _, losses, _ = take_dino_step()
    sum(losses.values()).backward()
    assert all(p.grad is None for p in learner.teacher.parameters())
    assert all(p.grad is not None for p in learner.student.head.parameters())


def test_a_step_that_is_not_finite_leaves_no_trace():
    _, learner, multi_crop, _, _ = take_dino_step()
    learner.discard_step()
    before = copy.deepcopy(learner.state_dict())
    multi_crop.globals_.pixels[0] = torch.nan
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    assert not torch.isfinite(losses["dino"])
    learner.discard_step()
    after = learner.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def move_student():
    """A learner whose student left its teacher, the teacher's parameters before it follows, and the student's."""
    _, learner, _, _, _ = take_dino_step()
    with torch.no_grad():
        for parameter in learner.student.parameters():
            parameter.add_(torch.randn_like(parameter))
    old = {n: p.clone() for n, p in learner.teacher.named_parameters()}
    return learner, old, dict(learner.student.named_parameters())


def test_teacher_follows_by_the_formula():
    learner, old, new = move_student()
    learner.update_teacher(0.996)
    for name, parameter in learner.teacher.named_parameters():
        expected = 0.996 * old[name] + 0.004 * new[name]
        assert torch.allclose(parameter, expected, atol=1e-6), name


@pytest.mark.parametrize("finite", [True, False])
def test_where_a_device_decides_the_teacher_follows_a_finite_step_alone(finite):
    learner, old, new = move_student()
    learner.update_teacher(0.75, torch.tensor(finite))
    for name, parameter in learner.teacher.named_parameters():
        torch.testing.assert_close(parameter, 0.75 * old[name] + 0.25 * new[name] if finite else old[name])


def test_objectives_come_in_the_registrys_order_and_at_weight_zero_not_at_all():
    assert list(learner_of(tiny(recipe="all")).objectives) == ["dino", "koleo", "ibot", "span", "sar", "loca"]
    assert list(learner_of(tiny(recipe="nokoleo+sar")).objectives) == ["dino", "sar"]
    assert list(build_objectives(tiny(recipe="span"), ())) == ["dino", "koleo"]


def test_an_objective_starts_alike_whatever_is_beside_it():
    alone, beside = learner_of(tiny(recipe="loca")), learner_of(tiny(recipe="loca+ibot+sar"))
    weights = [learner.student.parts["loca"].state_dict() for learner in (alone, beside)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_student_and_teacher_start_equal_but_for_the_students_own_parts():
    learner = learner_of(tiny(recipe="loca"))
    student, teacher = learner.student.state_dict(), learner.teacher.state_dict()
    assert all(torch.equal(student[name], teacher[name]) for name in teacher)
    assert {name.split(".")[1] for name in student.keys() - teacher.keys()} == {"loca"}
    assert not any(parameter.requires_grad for parameter in learner.teacher.parameters())


def test_without_a_prior_there_are_neither_heads_nor_masks():
    learner = learner_of(tiny())
    assert learner.structure_heads().tolist() == []
    assert learner.structure_heads().dtype == torch.long
    assert learner.sample_masks(0, slice(0, 2), 2, (6, 6)) is None
    assert learner_of(tiny(recipe="span"), (2, 0, 5)).structure_heads().tolist() == [2, 0, 5]


def test_weights_are_asked_at_the_progress_of_the_run():
    learner = learner_of(tiny(recipe="sar", sar={"weight": 0.4, "warmup": 0.5}, dino={"weight": 2.0}))
    assert learner.weights(0.25) == pytest.approx({"dino": 2.0, "koleo": 0.1, "sar": 0.2})


def test_the_count_of_terms_is_the_mean_over_the_parts():
    settings = tiny(recipe="loca", crops={"locals": 0})
    learner = learner_of(settings)
    multi_crops = [
        build_multi_crop(settings, learner, pictures(4)[0], part=part) for part in (slice(0, 2), slice(2, 4))
    ]
    multi_crops[1].globals_.geometry.box[2:, :2] += 5  # no query of this part lies in its reference
    first, second = learner.build_targets(multi_crops)
    located = (first["loca"][0].cell >= 0).sum().item()
    assert located > 0
    assert first["loca"][1].item() == second["loca"][1].item() == located / 2
    assert first["dino"] == (None, None)


def test_the_teacher_runs_for_objectives_that_read_it_only():
    settings = tiny(recipe="sar", **WITHOUT_DINO)
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(2)[0])
    outputs = learner._run_networks(learner.student, multi_crop)
    assert outputs.teacher_tokens is None
    assert outputs.scores is None
    assert [tokens.cls_logits is not None for tokens in outputs.views] == [True, False]
    learner = learner_of(tiny())
    outputs = learner._run_networks(learner.student, multi_crop)
    assert outputs.teacher_scores.shape == (4, 32)
    assert [tokens.cls_logits is not None for tokens in outputs.views] == [False, False]


def test_spread_of_features_is_that_of_the_first_views_directions():
    _, learner, multi_crop, _, logs = take_dino_step()
    with torch.no_grad():
        cls = learner.student.backbone(multi_crop.globals_.pixels).cls[:4].numpy()
    unit = cls / np.linalg.norm(cls, axis=1, keepdims=True)
    assert logs["feature_std"].item() == pytest.approx(unit.std(0, ddof=1).mean() * 48**0.5, rel=1e-4)
