"""SAR (arXiv 2206.04636): the mean over free heads, the excess over the prior's regions, and the heads it moves."""

import numpy as np
import pytest
import torch

from medprior.geometry import create_whole_image_views
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.objectives.sar import SarObjective, list_free_heads, sar_loss
from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy
from medprior.pretrain.views.augment import ViewBatch

from ..multi_crops import build_multi_crop, gradients, learner_of, pictures, tiny


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
    gradient = gradients(learner, build_multi_crop(settings, learner, images, masks), {objective: weights})
    qkv = gradient["backbone.blocks.1.attention.qkv.weight"].view(3, 6, 8, 48)
    return qkv[:2].abs().amax((0, 2, 3)), qkv[2]


@pytest.mark.parametrize(("objective", "moved"), [("span", {0, 3, 4}), ("sar", {1, 2, 5})])
def test_gradients_on_other_heads_are_exactly_zero(objective, moved):
    largest, values = qk_gradients(objective, 1.0)
    assert {head for head in range(6) if largest[head] > 0} == moved
    assert torch.equal(values, torch.zeros_like(values))  # attention alone is regularised


def test_each_view_has_its_own_visible_patches():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 20)
    visible = torch.rand(2, 20) < 0.5
    each = [compute_spatial_entropy(logits[i], (4, 5), 8, visible[i]).mean() for i in range(2)]
    loss, _ = sar_loss(logits, (4, 5), visible=visible)
    assert loss.item() == pytest.approx((sum(each) / 2).item())
    assert loss.item() != pytest.approx(sar_loss(logits, (4, 5))[0].item(), rel=1e-3)


def test_weight_is_warmed_up_and_ends_at_zero():
    sar = learner_of(tiny(recipe="sar", sar={"weight": 0.4, "warmup": 0.2})).objectives["sar"]
    weights = [sar.weight(progress) for progress in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert weights == pytest.approx([0, 0.2, 0.4, 0.2, 0], abs=1e-9)


def test_excess_allows_the_entropy_of_the_priors_own_regions():
    """Two structures of equal area apart allow log 2; one alone allows nothing."""
    maps = torch.zeros(2, 2, 96, 96)
    maps[0, 0, :32, :32] = 1
    maps[0, 1, 64:, 64:] = 1
    maps[1, 0, :32, :32] = 1
    view = create_whole_image_views(np.ones(4), (6, 6))
    views = ViewBatch(torch.zeros(4, 1, 48, 48), view, torch.arange(2).repeat(2))
    multi_crop = MultiCropBatch(views, None, PriorMaps(maps, torch.ones(2)))
    allowed, count = SarObjective(tiny(recipe="sar", sar={"excess": True})).targets(multi_crop)
    assert allowed.tolist() == pytest.approx([0.6931472, 0, 0.6931472, 0], abs=1e-5)
    assert count is None
    assert SarObjective(tiny(recipe="sar")).targets(multi_crop) == (None, None)


def test_warm_up_may_be_in_epochs():
    """64 images in batches of 8, 104 steps: 13 epochs, of which one warms up."""
    sar = SarObjective(tiny(recipe="sar", sar={"weight": 2.0, "warmup_epochs": 1.0}))
    assert [sar.weight(progress) for progress in (0, 0.5 / 13, 1 / 13, 7 / 13, 1)] == pytest.approx([0, 1, 2, 1, 0])
