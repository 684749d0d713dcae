"""Norms of the objectives' gradients, and when SPAN's weight is halved."""

import pytest
import torch

from medprior.pretrain.objectives.gradient_guard import GradientGuard, compute_gradient_norms

from ..multi_crops import build_multi_crop, learner_of, pictures, tiny


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


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_step_that_is_not_finite_leaves_the_guard_as_it_was(broken):
    guard = GradientGuard()
    guard.update_norms(torch.tensor(broken), torch.tensor(1.0))
    assert (guard.looks.item(), guard.norms.tolist()) == (0, [0.0, 0.0])
    guard.update_norms(torch.tensor(0.2), torch.tensor(1.0))
    before = {key: value.clone() for key, value in guard.state_dict().items()}
    guard.update_norms(torch.tensor(broken), torch.tensor(1.0))
    guard.update_norms(torch.tensor(0.2), torch.tensor(broken))
    for key, value in guard.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert before["norms"].tolist() == pytest.approx([0.2, 1.0])


def test_gradient_norms_are_those_of_separate_backward_passes():
    settings = tiny(recipe="span+sar+loca")
    learner = learner_of(settings)
    images, masks = pictures(4)
    multi_crop = build_multi_crop(settings, learner, images, masks)
    block = list(learner.student.backbone.blocks[-1].parameters())
    weights = learner.weights(0.3)
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    norms = compute_gradient_norms(losses, weights, block)
    for name in losses:
        learner.zero_grad(set_to_none=True)
        alone, _ = learner.compute_losses(learner.student, multi_crop)
        (weights[name] * alone[name]).backward()
        squares = sum(float(p.grad.square().sum()) for p in block if p.grad is not None)
        assert norms[name].item() == pytest.approx(squares**0.5, rel=1e-4), name
    assert min(value.item() for value in norms.values()) > 0


def test_averages_start_at_the_first_norms_and_keep_nine_tenths():
    guard = GradientGuard()
    guard.update_norms(torch.tensor(0.2), torch.tensor(1.0))
    assert guard.norms.tolist() == pytest.approx([0.2, 1.0])
    guard.update_norms(torch.tensor(0.4), torch.tensor(3.0))
    assert guard.norms.tolist() == pytest.approx([0.22, 1.2])
    assert guard.looks.item() == 2


def test_half_of_dinos_norm_is_allowed_and_more_is_halved_in_the_average_too():
    guard = GradientGuard()
    guard.update_norms(torch.tensor(0.5), torch.tensor(1.0))
    assert guard.factor.item() == 1
    guard = GradientGuard()
    guard.update_norms(torch.tensor(0.75), torch.tensor(1.0))
    assert guard.factor.item() == 0.5
    assert guard.norms.tolist() == [0.375, 1.0]


def test_norms_by_hand():
    first, second = (torch.nn.Parameter(torch.ones(())) for _ in range(2))
    other = torch.nn.Parameter(torch.ones(()))
    losses = {
        "both": 3 * first + 4 * second,
        "one": 2 * second,
        "elsewhere": 5 * other,
        "constant": torch.tensor(9.0),
    }
    weights = {"both": 2.0, "one": 0.5, "elsewhere": 1.0, "constant": 1.0}
    norms = compute_gradient_norms(losses, weights, [first, second])
    assert {name: norm.item() for name, norm in norms.items()} == pytest.approx(
        {"both": 10.0, "one": 1.0, "elsewhere": 0.0, "constant": 0.0}
    )
    losses["both"].backward()  # the graph is still there
    assert first.grad.item() == 3
