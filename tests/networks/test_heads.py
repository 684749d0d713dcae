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
