"""Roll-out maps per structure and per finding."""

import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks.class_rollout import (
    average_over_patches,
    compute_classifier_rollout,
    compute_segmenter_rollout,
    compute_token_contributions,
)
from medprior.networks.convolutional import ConvNet, ConvSettings
from medprior.networks.decoders import Segmenter
from medprior.networks.heads import Classifier
from medprior.networks.rollout import (
    RolloutSettings,
    collect_block_attention,
    compute_cls_rollout,
    normalise_patch_shares,
)

from .rollout_twins import PREFIX, build_rollout_encoder, multiply_out


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("weights", ["hard", "soft", "gt"])
def test_maps_of_a_segmenter(weights, gradients):
    torch.manual_seed(0)
    model = Segmenter(build_rollout_encoder(), 3, "linear").eval().requires_grad_(False)
    images = torch.rand(2, 1, 32, 32)
    truth = (torch.rand(2, 3, 32, 32) > 0.7).float()
    settings = RolloutSettings(gradients=gradients)
    given = truth if weights == "gt" else weights
    result = compute_segmenter_rollout(model, images, given, settings)
    assert result.maps.shape == (2, 3, 4, 4)
    probability = average_over_patches(model(images).sigmoid(), 8)
    shares = {
        "hard": (probability >= 0.5).float(), "soft": probability, "gt": average_over_patches(truth, 8)
    }[weights]  # fmt: skip
    mass = result.maps.sum((-1, -2)) + result.cls_mass + result.register_mass
    assert torch.allclose(mass, (shares.sum(-1) > 0).float(), atol=1e-5)
    if not gradients:
        attentions = [a.double() for a in collect_block_attention(model.vit, images)]
        expected = normalise_patch_shares(shares, PREFIX).double() @ multiply_out(attentions)
        assert torch.allclose(result.maps.flatten(2).double(), expected[..., PREFIX:], atol=1e-6)


@pytest.mark.parametrize("kind", ["cls", "cls_mean", "pooled"])
def test_maps_of_a_classifier(kind):
    torch.manual_seed(0)
    model = Classifier(build_rollout_encoder(), 4, kind, (0, 2)).eval().requires_grad_(False)
    torch.nn.init.normal_(model.linear.weight)
    images = torch.rand(2, 1, 32, 32)
    weights = compute_token_contributions(model, images)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4), atol=1e-5)
    plain = compute_classifier_rollout(model, images, RolloutSettings())
    weighted = compute_classifier_rollout(model, images)
    for result in (plain, weighted):
        mass = result.maps.sum((-1, -2)) + result.cls_mass + result.register_mass
        assert torch.allclose(mass, torch.ones(2, 4), atol=1e-5)
    assert not torch.allclose(weighted.maps[:, 0], weighted.maps[:, 1], rtol=1e-3)
    if kind == "cls":
        expected = compute_cls_rollout(collect_block_attention(model.vit, images))[:, PREFIX:]
        for finding in range(4):
            assert torch.allclose(plain.maps[:, finding].flatten(1), expected, atol=1e-6)
    else:
        assert not torch.allclose(plain.maps[:, 0], plain.maps[:, 1], rtol=1e-3)


def test_gradient_maps_do_not_depend_on_the_unit_of_the_score():
    torch.manual_seed(0)
    model = Classifier(build_rollout_encoder(), 2, "cls_mean").eval().requires_grad_(False)
    torch.nn.init.normal_(model.linear.weight)
    images = torch.rand(2, 1, 32, 32)
    result = compute_classifier_rollout(model, images)
    model.linear.weight.mul_(1e-3)
    again = compute_classifier_rollout(model, images)
    assert torch.allclose(result.maps, again.maps, rtol=1e-3, atol=1e-6)
    weights = compute_token_contributions(model, images)[..., PREFIX:].reshape(2, 2, 4, 4)
    assert not torch.allclose(result.maps, weights, rtol=1e-2)


def test_means_over_patches_are_in_raster_order():
    maps = torch.tensor([[1.0, 3, 0, 0], [1, 3, 0, 4], [0, 0, 5, 5], [0, 8, 5, 5]])[None, None]
    assert average_over_patches(maps, 2).tolist() == [[[2, 1, 2, 5]]]


def test_a_cnn_has_nothing_to_roll_out():
    network = ConvNet(ConvSettings(architecture="test_resnet"), torch.nn.Identity(), None)
    with pytest.raises(ConfigError, match="no attention"):
        compute_classifier_rollout(network, torch.rand(1, 1, 8, 8))


def small_classifier(kind):
    model = Classifier(build_rollout_encoder(), 2, kind, (1,)).eval().requires_grad_(False)
    torch.nn.init.ones_(model.norm.bias)
    torch.nn.init.zeros_(model.norm.weight)  # every pooled token becomes ones
    return model


@pytest.mark.parametrize("kind", ["cls_mean", "pooled"])
def test_pooled_tokens_share_a_logit_by_their_positive_contributions(kind):
    """Finding 0 gets 1 part from CLS and 3 from the pooled token; finding 1 gets nothing positive."""
    model = small_classifier(kind)
    width = model.vit.settings.width
    model.linear.weight[0, :width], model.linear.weight[0, width:] = 1.0, 3.0
    model.linear.weight[1] = -1.0
    images = torch.rand(1, 1, 32, 32)
    weights = compute_token_contributions(model, images)[0]
    spread = torch.full((16,), 1 / 16)
    if kind == "pooled":
        spread = model.vit(images, capture=True).cls_logits[0, 1].softmax(-1)
    for finding, share in ((0, 0.75), (1, 0.5)):
        assert float(weights[finding, 0]) == pytest.approx(1 - share, abs=1e-6)
        assert not weights[finding, 1:PREFIX].any()
        torch.testing.assert_close(weights[finding, PREFIX:], share * spread)


def test_a_negative_contribution_takes_nothing_from_the_others():
    model = small_classifier("cls_mean")
    width = model.vit.settings.width
    model.linear.weight[0, :width], model.linear.weight[0, width:] = 1.0, -3.0
    weights = compute_token_contributions(model, torch.rand(1, 1, 32, 32))[0, 0]
    assert weights[0] == 1
    assert not weights[1:].any()
