"""iBOT (arXiv 2111.07832): the loss is at masked patches alone."""

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.ibot import ibot_loss

from ..multi_crops import build_multi_crop, gradients, learner_of, pictures, tiny
from ..slow_twins import softmax


def test_against_twin():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(7, 5)), softmax(rng.normal(size=(7, 5)))
    view = np.array([0, 0, 0, 2, 2, 3, 0])
    total = 0.0
    for number in range(4):
        inside = view == number
        if inside.any():
            each = -(teacher[inside] * np.log(softmax(student[inside] / 0.1))).sum(-1)
            total += each.mean()
    loss = ibot_loss(*(torch.tensor(x) for x in (student, teacher)), torch.tensor(view), 4, 0.1)
    assert loss.item() == pytest.approx(total / 4, rel=1e-5)


def test_same_step_same_masks_whatever_the_parts():
    settings = tiny(recipe="ibot")
    ibot = learner_of(settings).objectives["ibot"]
    whole = ibot.sample_masks(3, slice(0, 8), 8, (6, 6)).view(2, 8, 36)
    parts = [ibot.sample_masks(3, slice(i, i + 4), 8, (6, 6)).view(2, 4, 36) for i in (0, 4)]
    assert torch.equal(whole, torch.cat(parts, 1))
    assert not torch.equal(whole, ibot.sample_masks(4, slice(0, 8), 8, (6, 6)).view(2, 8, 36))


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("teacher", ["centering", "sinkhorn"])
def test_only_hidden_patches_of_the_output_matter(separate, teacher):
    """The gradient on the student's patch tokens is zero exactly where nothing is hidden."""
    settings = tiny(recipe="ibot", ibot={"separate_head": separate, "teacher": teacher})
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    kept = []
    original = learner.student.forward

    def watched(*arguments):
        tokens, scores = original(*arguments)
        tokens[0].patches.retain_grad()
        kept.append(tokens[0].patches)
        return tokens, scores

    learner.student.forward = watched
    losses, logs = learner.compute_losses(learner.student, multi_crop)
    losses["ibot"].backward()
    reached = kept[0].grad.abs().amax(-1) > 0
    assert torch.equal(reached, multi_crop.masked)
    assert logs["hidden_share"].item() == pytest.approx(multi_crop.masked.float().mean().item())
    names = {n for n, p in learner.student.named_parameters() if p.grad is not None}
    assert ("parts.ibot.prototypes" in names) is separate
    assert ("head.prototypes" in names) is not separate
    assert "backbone.mask_token" in names


def test_student_does_not_see_what_is_hidden_and_the_teacher_does():
    settings = tiny(recipe="ibot")
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    pixels = multi_crop.globals_.pixels
    hidden = multi_crop.masked.view(8, 1, 6, 6).float()
    over = torch.nn.functional.interpolate(hidden, scale_factor=8) > 0
    tokens, _ = learner.student([pixels], 0, multi_crop.masked)
    again, _ = learner.student([torch.where(over, 0.9, pixels)], 0, multi_crop.masked)
    assert torch.equal(tokens[0].patches, again[0].patches)
    (taught,), _ = learner.teacher([pixels], 0)
    (other,), _ = learner.teacher([torch.where(over, 0.9, pixels)], 0)
    assert not torch.allclose(taught.patches, other.patches)


def test_centre_is_that_of_hidden_patches():
    settings = tiny(recipe="ibot")
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    gradients(learner, multi_crop)
    learner.commit_step()
    with torch.no_grad():
        (taught,), _ = learner.teacher([multi_crop.globals_.pixels], 0)
        mean = learner.teacher.head(taught.patches[multi_crop.masked]).mean(0)
    assert torch.allclose(learner.objectives["ibot"].centre, 0.1 * mean, atol=1e-6)


def test_nothing_hidden_is_zero():
    settings = tiny(recipe="ibot", ibot={"probability": 0.0})
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    sum(losses.values()).backward()
    assert losses["ibot"].item() == 0
    learner.commit_step()
    assert all(torch.isfinite(v).all() for v in learner.state_dict().values())


def test_a_view_without_a_mask_counts_as_zero():
    """Two patches of view 0 at log 2 each, none of view 1: half of log 2."""
    loss = ibot_loss(torch.zeros(2, 2), torch.full((2, 2), 0.5), torch.tensor([0, 0]), 2, 0.1)
    assert loss.item() == pytest.approx(0.3465736)


def test_parts_and_weight():
    own = learner_of(tiny(recipe="ibot", ibot={"separate_head": True})).objectives["ibot"]
    assert list(own.parts()) == ["ibot"]
    shared = learner_of(tiny(recipe="ibot", ibot={"weight": 0.75})).objectives["ibot"]
    assert shared.parts() == {}
    assert shared.weight(0.0) == shared.weight(1.0) == 0.75


def test_centre_is_the_mean_of_all_patches_of_a_step_and_not_of_a_skipped_one():
    ibot = learner_of(tiny(recipe="ibot", dino={"prototypes": 2, "centre_momentum": 0.5})).objectives["ibot"]
    ibot._teacher_probabilities(torch.tensor([[8.0, 8.0]]))
    ibot.discard_step()
    ibot.commit_step()
    assert ibot.centre.tolist() == [0, 0]
    ibot._teacher_probabilities(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 3.0]]))
    ibot._teacher_probabilities(torch.tensor([[5.0, 1.0]]))
    ibot.commit_step()
    assert ibot.centre.tolist() == [1.0, 0.5]


def test_sinkhorn_leaves_the_centre():
    ibot = learner_of(tiny(recipe="ibot", ibot={"teacher": "sinkhorn"})).objectives["ibot"]
    assert ibot._teacher_probabilities(torch.randn(5, 32)).sum(-1).tolist() == pytest.approx([1.0] * 5)
    ibot.commit_step()
    assert ibot.centre.abs().max() == 0
