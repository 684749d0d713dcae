import pytest
import torch

from medprior.networks.heads import Classifier, pool_by_attention
from medprior.networks.vit import VisionTransformer, ViTSettings

SHAPE = ViTSettings(width=24, depth=2, heads=3, patch=8, registers=2, image_size=32)


def test_pooled_tokens_are_weighted_means():
    torch.manual_seed(0)
    vit = VisionTransformer(SHAPE).eval()
    tokens = vit(torch.rand(2, 1, 32, 32), capture=True)
    pooled = pool_by_attention(tokens, torch.tensor([2, 0]))
    for b in range(2):
        for p, head in enumerate((2, 0)):
            weight = tokens.cls_logits[b, head].exp()
            wanted = (weight[:, None] * tokens.patches[b]).sum(0) / weight.sum()
            torch.testing.assert_close(pooled[b, p], wanted)
    with pytest.raises(ValueError):
        pool_by_attention(vit(torch.rand(2, 1, 32, 32)), torch.tensor([0]))


@pytest.mark.parametrize(
    ("kind", "heads", "tokens"),
    [("cls", (), 1), ("cls_mean", (), 2), ("pooled", (), 4), ("pooled", (1,), 2)],
)
def test_every_parameter_of_every_kind_learns(kind, heads, tokens):
    torch.manual_seed(0)
    network = Classifier(VisionTransformer(SHAPE), 5, kind, heads)
    images = torch.rand(3, 1, 32, 32)
    assert network.features(images).shape == (3, tokens, 24)
    logits = network(images)
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_pooled_tokens_are_cls_then_the_mean_or_a_token_of_each_head():
    torch.manual_seed(0)
    vit, images = VisionTransformer(SHAPE).eval(), torch.rand(2, 1, 32, 32)
    tokens = vit(images, capture=True)
    second = {"cls": [], "cls_mean": [tokens.patches.mean(1)], "pooled": []}
    second["pooled"] = list(pool_by_attention(tokens, torch.tensor([2, 1])).unbind(1))
    for kind, others in second.items():
        features = Classifier(vit, 5, kind, (2, 1)).features(images)
        torch.testing.assert_close(features, torch.stack([tokens.cls, *others], 1))


@pytest.mark.parametrize("kind", ["cls", "cls_mean", "pooled"])
def test_logits_are_linear_in_the_normalised_tokens_from_one_pass(kind):
    torch.manual_seed(0)
    network = Classifier(VisionTransformer(SHAPE), 5, kind).eval()
    images = torch.rand(2, 1, 32, 32)
    logits, tokens = network.forward_with_tokens(images)
    features = network.features(images)
    centred = features - features.mean(-1, keepdim=True)
    normalised = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(logits, normalised.flatten(1) @ network.linear.weight.T)
    torch.testing.assert_close(network(images), logits)
    torch.testing.assert_close(tokens.cls_logits, network.vit(images, capture=True).cls_logits)


def test_the_layer_starts_small_and_dropout_is_of_training_alone():
    torch.manual_seed(0)
    network = Classifier(VisionTransformer(SHAPE), 50, "pooled", dropout=0.5)
    assert network.linear.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not network.linear.bias.any()
    assert network.heads.tolist() == [0, 1, 2]
    assert "heads" not in network.state_dict()
    features = torch.rand(3, 4, 24)
    assert not torch.equal(network.train().classify(features), network.classify(features))
    assert torch.equal(network.eval().classify(features), network.classify(features))
