"""AdamW with layer-wise learning rate decay, and a warm-up cosine schedule."""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from torch.optim import AdamW, Optimizer

from medprior.finetune.settings import FinetuneSettings
from medprior.pretrain.schedules import warmup_cosine_schedule

BLOCK_PATTERN = re.compile(r"^vit\.blocks\.(\d+)\.")
TOKEN_PARAMETERS = frozenset({"vit.cls", "vit.registers", "vit.position"}) | {
    f"vit.stem.{name}" for name in ("cls_token", "reg_token", "pos_embed")
}


def find_parameter_depth(name: str, blocks: int) -> int:
    """0 for the embedding and the tokens, 1 to `blocks` for blocks, one more for norm and head."""
    block = BLOCK_PATTERN.match(name)
    if block:
        return int(block[1]) + 1
    above = not name.startswith("vit.") or name.startswith("vit.norm.")
    return blocks + 1 if above else 0


def build_parameter_groups(network: nn.Module, settings: FinetuneSettings) -> list[dict[str, Any]]:
    """Parameter groups by depth and weight decay, each with a learning rate factor `scale`.

    Layer decay as in BEiT (Bao et al. 2022); biases, norms, tokens and positions do not decay.
    """
    names = [name for name, _ in network.named_parameters()]
    blocks = 1 + max((int(m[1]) for m in map(BLOCK_PATTERN.match, names) if m), default=-1)
    decay = settings.layer_decay or 1.0
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        undecayed = parameter.ndim < 2 or name in TOKEN_PARAMETERS
        depth = find_parameter_depth(name, blocks)
        group = groups.setdefault(
            (depth, undecayed),
            {
                "params": [],
                "scale": decay ** (blocks + 1 - depth),
                "weight_decay": 0.0 if undecayed else settings.weight_decay,
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def build_optimiser(network: nn.Module, settings: FinetuneSettings) -> AdamW:
    """AdamW over the trainable parameters."""
    return AdamW(build_parameter_groups(network, settings), lr=settings.lr)


def set_learning_rates(optimiser: Optimizer, settings: FinetuneSettings, progress: float) -> None:
    """Set every group's learning rate at `progress` in [0, 1] of the run."""
    rate = warmup_cosine_schedule(settings.lr, settings.final_lr, settings.warmup, progress)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
