"""SPAN moves its own heads, SAR the others (methods 11, point 10)."""

import pytest
import torch

from .scenes import gradients, learner_of, pictures, scene_of, tiny

HEADS = (4, 0, 3)


def qk_gradients(objective, weights):
    """Largest gradient on each head's queries and keys in the last block."""
    settings = tiny(recipe="span+sar", network={"registers": 1})
    learner = learner_of(settings, HEADS)
    images, masks = pictures(4)
    found = gradients(learner, scene_of(settings, learner, images, masks), {objective: weights})
    qkv = found["backbone.blocks.1.attention.qkv.weight"].view(3, 6, 8, 48)
    return qkv[:2].abs().amax((0, 2, 3)), qkv[2]


@pytest.mark.parametrize(("objective", "moved"), [("span", {0, 3, 4}), ("sar", {1, 2, 5})])
def test_gradients_on_other_heads_are_exactly_zero(objective, moved):
    largest, values = qk_gradients(objective, 1.0)
    assert {head for head in range(6) if largest[head] > 0} == moved
    assert torch.equal(values, torch.zeros_like(values))  # attention alone is regularised
