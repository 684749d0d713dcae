"""`medprior bench networks`: cost of LIFE, of capturing the CLS row and of the dense roll-out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from medprior.networks.encoder import Encoder
from medprior.networks.factory import build_encoder
from medprior.networks.rollout import collect_block_attention, compute_dense_rollout, normalise_patch_shares
from medprior.networks.vit_settings import ViTSettings

PAIRS = 7
VIT_TINY: dict[str, Any] = {
    "width": 192,
    "depth": 12,
    "heads": 3,
    "patch": 16,
    "image_size": 224,
    "registers": 4,
}
WIDTHS = {"ViT-Ti": 192, "ViT-S": 384, "ViT-B": 768}


def main() -> None:
    """Count parameters, then time alternately, A B A B ..., and print the ratios of the pairs."""
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}, {PAIRS} pairs")
    for name, width in WIDTHS.items():
        shape = VIT_TINY | {"width": width, "heads": width // 64}
        extra = count_parameters(shape | {"life": True}) - count_parameters(shape)
        print(f"{name}: LIFE has {extra} parameters more, 12 blocks")
    images = torch.rand(4, 1, 224, 224)
    plain, life = build_bench_network({}), build_bench_network({"life": True})
    timm = build_bench_network({"source": "timm", "name": "vit_tiny_patch16_224"})
    print_time_ratio("step, LIFE / plain", build_network_step(life, images), build_network_step(plain, images))
    print_time_ratio("step, CLS row / none", build_network_step(plain, images, True), build_network_step(plain, images))
    print_time_ratio("step, timm / own", build_network_step(timm, images), build_network_step(plain, images))
    print_time_ratio(
        "step, timm, CLS row / none", build_network_step(timm, images, True), build_network_step(timm, images)
    )
    plain.eval()
    attention = collect_block_attention(plain, images)
    weights = normalise_patch_shares(torch.rand(4, 3, 196), plain.prefix)
    print_time_ratio(
        "roll-out of 3 classes, vector / matrix form",
        lambda: compute_dense_rollout(attention, weights), lambda: multiply_rollout(attention, weights),
    )  # fmt: skip
    print_time_ratio(
        "all attention, heads fused / forward alone",
        lambda: collect_block_attention(plain, images), lambda: run_forward(plain, images),
    )  # fmt: skip


def build_bench_network(options: dict[str, Any]) -> Encoder:
    """A ViT-Ti with further settings."""
    return build_encoder(ViTSettings.from_values(VIT_TINY | options))


def count_parameters(values: dict[str, Any]) -> int:
    """Number of parameters."""
    network = build_encoder(ViTSettings.from_values(values))
    return sum(parameter.numel() for parameter in network.parameters())


def build_network_step(net: Encoder, images: torch.Tensor, capture: bool = False) -> Callable[[], None]:
    """Forward and backward of one batch."""

    def call() -> None:
        """Run one step."""
        tokens = net(images, capture=capture)
        loss = tokens.cls.square().mean() + tokens.patches.square().mean()
        if tokens.cls_logits is not None:
            loss = loss + tokens.cls_logits.square().mean()
        loss.backward()

    return call


def run_forward(net: Encoder, images: torch.Tensor) -> None:
    """Forward pass without a graph."""
    with torch.no_grad():
        net(images)


def multiply_rollout(attentions: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    """The roll-out by the T x T matrix product of all blocks."""
    eye = torch.eye(attentions[0].shape[-1])
    product = eye.expand_as(attentions[0])
    for attention in attentions:
        product = (attention + eye) / 2 @ product
    return weights @ product


def print_time_ratio(title: str, ours: Callable[[], object], other: Callable[[], object]) -> None:
    """Print the ratio of two calls timed side by side: median [min, max]."""
    ours()
    other()
    ratios = [measure_wall_seconds(ours) / measure_wall_seconds(other) for _ in range(PAIRS)]
    print(f"{title}: {np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]", flush=True)


def measure_wall_seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
