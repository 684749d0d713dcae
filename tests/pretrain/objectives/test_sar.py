"""SAR (arXiv 2206.04636): the mean over free heads, the excess over the prior's regions, and the heads it moves."""

import pytest
import torch

from medprior.pretrain.objectives.sar import list_free_heads, sar_loss
from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy

from ..scenes import gradients, learner_of, pictures, scene_of, tiny


def test_loss_is_the_mean_and_excess_lets_the_allowed_be():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 36)
    each = compute_spatial_entropy(logits, (6, 6))
    loss, plain = sar_loss(logits, (6, 6))
    assert loss.item() == pytest.approx(each.mean().item())
    assert plain.item() == pytest.approx(each.mean().item())
    allowed = torch.tensor([0.0, 0.3, 9.0])
    loss, _ = sar_loss(logits, (6, 6), allowed=allowed)
    assert loss.item() == pytest.approx((each - allowed[:, None]).clamp(min=0).mean().item())
    assert sar_loss(logits[:, :0], (6, 6))[0].item() == 0


def test_heads_without_a_structure_are_free():
    assert list_free_heads(6, [1, 4]) == [0, 2, 3, 5]


HEADS = (4, 0, 3)


def qk_gradients(objective, weights):
    """Largest gradient on each head's queries and keys in the last block."""
    settings = tiny(recipe="span+sar", network={"registers": 1})
    learner = learner_of(settings, HEADS)
    images, masks = pictures(4)
    gradient = gradients(learner, scene_of(settings, learner, images, masks), {objective: weights})
    qkv = gradient["backbone.blocks.1.attention.qkv.weight"].view(3, 6, 8, 48)
    return qkv[:2].abs().amax((0, 2, 3)), qkv[2]


@pytest.mark.parametrize(("objective", "moved"), [("span", {0, 3, 4}), ("sar", {1, 2, 5})])
def test_gradients_on_other_heads_are_exactly_zero(objective, moved):
    largest, values = qk_gradients(objective, 1.0)
    assert {head for head in range(6) if largest[head] > 0} == moved
    assert torch.equal(values, torch.zeros_like(values))  # attention alone is regularised
