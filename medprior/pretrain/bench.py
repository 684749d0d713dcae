"""`medprior bench pretrain`: what SPAN costs beside DINO, and the CLS row beside full attention."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange

from medprior.networks.vit import Attention
from medprior.pretrain.augment import ViewMaker
from medprior.pretrain.learner import Learner
from medprior.pretrain.objective import PriorMaps, Scene
from medprior.pretrain.settings import PretrainSettings

PAIRS = 7
BATCH = 16


def main() -> None:
    """Time both in turn, A B A B ..., and print the ratios pair by pair."""
    print(f"{torch.get_num_threads()} thread(s), torch {torch.__version__}, {PAIRS} pairs")
    report("step, SPAN / DINO (ViT 96 wide, 96 px, batch 16)", step(True), step(False))
    for size in (224, 512):
        tokens = (size // 16) ** 2 + 1
        report(
            f"attention of {tokens} tokens ({size} px), CLS row / fused alone",
            attention(tokens, "row"), attention(tokens, "fused"),
        )  # fmt: skip
        report(
            f"attention of {tokens} tokens ({size} px), CLS row / full matrix",
            attention(tokens, "row"), attention(tokens, "full"),
        )  # fmt: skip


def report(title: str, ours: Callable[[], None], other: Callable[[], None]) -> None:
    """Print the ratio of two calls timed side by side: median, least and greatest."""
    ours()
    other()
    ratios = []
    for _ in range(PAIRS):
        ratios.append(seconds(ours) / seconds(other))
    print(f"{title}: {np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]", flush=True)


def seconds(call: Callable[[], None]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def step(with_prior: bool) -> Callable[[], None]:
    """One training step on random pictures: views, losses, backward."""
    settings = PretrainSettings.checked({"batch": BATCH, "steps": 1}).resolved(BATCH)
    torch.manual_seed(0)
    learner = Learner(settings, range(3) if with_prior else ())
    maker = ViewMaker(settings)
    images, aspect = torch.rand(BATCH, 1, 144, 144), np.ones(BATCH)
    prior = PriorMaps(torch.rand(BATCH, 3, 128, 128), torch.ones(BATCH))

    def call() -> None:
        """One timed call."""
        views = maker(images, aspect, 0, slice(0, BATCH), BATCH)
        scene = Scene(*views, prior if with_prior else None)
        losses, _ = learner.losses(learner.student, scene)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]

    return call


def attention(tokens: int, how: str) -> Callable[[], None]:
    """Forward and backward of one attention layer, 6 heads of 64, batch 4."""
    layer = Attention(384, 6)
    x = torch.randn(4, tokens, 384, requires_grad=True)

    def call() -> None:
        """One timed call."""
        if how == "full":
            q, k, v = layer.split(x)
            weights = (q @ k.transpose(-1, -2) / 8).softmax(-1)
            out = layer.project(rearrange(weights @ v, "b h t d -> b t (h d)"))
            loss = out.square().mean() + weights[:, :, 0].square().sum()
        else:
            out, row = layer(x, 0 if how == "row" else None)
            loss = out.square().mean()
            if row is not None:
                loss = loss + row.softmax(-1).square().sum()
        loss.backward()

    return call
