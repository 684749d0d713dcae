"""A small network, random attention, and the roll-out multiplied out as matrices."""

import torch

from medprior.networks import ViTSettings, build_encoder

SHAPE = {"width": 48, "depth": 3, "heads": 3, "patch": 8, "registers": 2, "image_size": 32}
TOKENS, PREFIX = 19, 3


def build_rollout_encoder(**options):
    """A small network whose attention is far from even."""
    torch.manual_seed(0)
    net = build_encoder(ViTSettings.from_values(SHAPE | options)).eval()
    with torch.no_grad():
        for block in net.blocks:
            getattr(block, "attention", block).qkv.weight.normal_(0, 0.3)
    return net


def random_attention(blocks=3, seed=0):
    """Attention of some blocks, heads fused, float64 [2, T, T] each."""
    torch.manual_seed(seed)
    return [torch.randn(2, TOKENS, TOKENS, dtype=torch.float64).mul(2).softmax(-1) for _ in range(blocks)]


def multiply_out(attentions, start=0, nosn=False):
    """The twin of the roll-out: all steps multiplied out, last block leftmost."""
    product = torch.eye(TOKENS, dtype=torch.float64).expand(2, -1, -1)
    for index, attention in enumerate(attentions):
        if index < start:
            continue
        step = attention.clone()
        if not (nosn and index == len(attentions) - 1):
            step = step + torch.eye(TOKENS, dtype=torch.float64)
        product = step / step.sum(-1, keepdim=True) @ product
    return product


def random_weights(classes=4):
    """Weights of output tokens per class, summing to 1: float64 [2, C, T]."""
    torch.manual_seed(1)
    weights = torch.rand(2, classes, TOKENS, dtype=torch.float64)
    return weights / weights.sum(-1, keepdim=True)
