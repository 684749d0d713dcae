"""SPAN's gradient is attention minus target (methods 11, point 7)."""

import pytest
import torch

from medprior.pretrain.objectives.divergences import AttentionComparison, build_attention_target, kl_divergence

from .scenes import learner_of, pictures, scene_of, tiny


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


def test_scores_of_cls_and_registers_do_not_matter():
    """Whatever the CLS query thinks of itself and of the registers, the loss is the same."""
    settings = tiny(recipe="span")
    images, masks = pictures(4)
    found = []
    for shift in (0.0, 5.0):
        learner = learner_of(settings)
        backbone = learner.student.backbone
        scene = scene_of(settings, learner, images, masks)

        def shifted(row, shift=shift, prefix=backbone.prefix):
            row[..., :prefix] += shift
            return row

        original = type(backbone).step

        def step(index, x, context, row=False, watch=None, original=original, own=backbone):
            x, scores = original(own, index, x, context, row, watch)
            return x, None if scores is None else shifted(scores.clone())

        backbone.step = step
        losses, logs = learner.compute_losses(learner.student, scene)
        found.append((losses["span"].item(), logs["cls_mass"].item()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert found[1][1] < found[0][1] / 2  # the shift did reach the row
