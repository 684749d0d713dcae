"""AdamW of pretraining: parameter groups, rates over the run, clipping."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from medprior.pretrain.schedules import cosine_schedule, warmup_cosine_schedule
from medprior.pretrain.settings import OptimiserSettings, PretrainSettings

BLOCK_PATTERN = re.compile(r"^backbone\.blocks\.(\d+)\.")
PATCH_EMBEDDINGS = ("backbone.embed.", "backbone.stem.patch_embed.")
FROZEN_PROTOTYPES = frozenset({"head.prototypes", "parts.ibot.prototypes"})
"""DINO's last layer, and that of iBOT's own head, as in DINOv2's code."""


def build_pretrain_optimiser(
    student: nn.Module, settings: PretrainSettings, *, fused: bool = False
) -> torch.optim.AdamW:
    """AdamW; matrices decay, vectors and biases do not. Each group has a factor `scale` of the learning rate.

    `fused`: one kernel, which can skip a step by itself.
    """
    optimiser = settings.optimiser
    named = list(student.named_parameters())
    blocks = 1 + max((int(match[1]) for match in map(BLOCK_PATTERN.match, dict(named)) if match), default=-1)
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in named:
        key = (parameter.ndim > 1, compute_rate_scale(name, blocks, optimiser))
        groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[decays, scale],
                "decays": decays,
                "scale": scale,
                "weight_decay": optimiser.weight_decay[0] if decays else 0.0,
            }
            for decays, scale in sorted(groups, reverse=True)
        ],
        lr=optimiser.scale_rate(settings.batch),
        betas=(0.9, 0.999),
        fused=fused or None,
    )


def compute_rate_scale(name: str, blocks: int, settings: OptimiserSettings) -> float:
    """Factor of a student parameter's learning rate.

    `layer_decay` to the number of layers above (DINOv2's code; BEiT, Bao et al. 2022): 0 for the final norm and the
    heads, `blocks` + 1 for the tokens, positions and embedding, where the patches' also has `patch_embed_rate`.
    """
    block = BLOCK_PATTERN.match(name)
    above = blocks + 1
    if block:
        above = blocks - int(block[1])
    elif not name.startswith("backbone.") or name.startswith("backbone.norm."):
        above = 0
    scale = settings.layer_decay**above
    return scale * settings.patch_embed_rate if name.startswith(PATCH_EMBEDDINGS) else scale


def set_rates(optimiser: torch.optim.Optimizer, settings: PretrainSettings, progress: float) -> None:
    """Set learning rate and weight decay of every group at `progress` in [0, 1] of the run."""
    values = settings.optimiser
    warmup = settings.compute_warmup_share(values.warmup, values.warmup_epochs)
    rate = warmup_cosine_schedule(values.scale_rate(settings.batch), values.final_lr, warmup, progress + 1e-9)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
        if group["decays"]:
            group["weight_decay"] = cosine_schedule(*values.weight_decay, progress)


def clip_gradients(student: nn.Module, settings: OptimiserSettings) -> Tensor:
    """Clip the gradients in place to the norm `clip`, over what `clip_by` names; the norm of all before, a scalar."""
    if settings.clip_by == "student":
        groups = [list(student.parameters())]
    elif settings.clip_by == "tensor":
        groups = [[p] for p in student.parameters() if p.grad is not None]
    else:
        children = [child for name, child in student.named_children() if name != "parts"]
        children += student.get_submodule("parts").children()
        groups = [[p for p in child.parameters() if p.grad is not None] for child in children]
    norms = [nn.utils.clip_grad_norm_(group, settings.clip) for group in groups if group]
    return norms[0] if len(norms) == 1 else torch.stack(norms).norm()


def freeze_prototypes(student: nn.Module) -> None:
    """Drop the gradient of the prototypes that DINO and iBOT score against, so that the step leaves them."""
    for name, parameter in student.named_parameters():
        if name in FROZEN_PROTOTYPES:
            parameter.grad = None
