"""Convert published tensors to the state of `VisionTransformer` or of `TimmEncoder`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from medprior.errors import ConfigError
from medprior.networks.vit_settings import ViTSettings
from medprior.networks.weight_layouts import Tensors

TIMM_TO_OWN_NAMES = {
    "norm1.": "norm1.", "attn.qkv.": "attention.qkv.", "attn.proj.": "attention.project.",
    "norm2.": "norm2.", "mlp.fc1.": "mlp.0.", "mlp.fc2.": "mlp.2.",
    "ls1.gamma": "scale1", "ls2.gamma": "scale2",
}  # fmt: skip
ChannelValues = tuple[float, ...]
GreyStatistics = tuple[float, float]


def fold_to_one_channel(
    tensors: Tensors, mean: ChannelValues, std: ChannelValues, where: str
) -> tuple[Tensors, GreyStatistics]:
    """Fold the channels of the patch embedding and their normalisation into one; exact for grey images."""
    weight = tensors.get("patch_embed.proj.weight")
    if weight is None or weight.ndim != 4:
        raise ConfigError("no patch embedding", where=where, expected="patch_embed.proj.weight")
    bias = tensors.get("patch_embed.proj.bias", torch.zeros(len(weight))).double()
    folded, offset, grey = fold_channels(weight, mean, std, where)
    layer = {"patch_embed.proj.weight": folded, "patch_embed.proj.bias": (bias + offset).float()}
    return tensors | layer, grey


def fold_channels(
    weight: Tensor, mean: ChannelValues, std: ChannelValues, where: str
) -> tuple[Tensor, Tensor, GreyStatistics]:
    """Weights of a convolution for one channel, and what they lack against those for all, for grey images.

    W'(x - m) / s with W' = s * sum_c W_c / s_c, the bias taking up sum_c W_c (m - m_c) / s_c. Equal channels make it a
    plain sum. m and s are the means over channels.

    Args:
        weight: [D, C, h, w].
        mean: of the channels, C values or 1.
        std: of the same.
        where: the file's name.

    Returns:
        Weights float32 [D, 1, h, w], the bias float64 [D] to add, and mean and std of the one channel.
    """
    channels = weight.shape[1]
    if len(mean) != len(std) or len(mean) not in (1, channels):
        raise ConfigError(
            "mean and std do not fit the channels", where=where,
            expected=f"1 or {channels} values each", found=f"{len(mean)} and {len(std)}",
        )  # fmt: skip
    shift = torch.tensor(mean, dtype=torch.float64).expand(channels)
    scale = torch.tensor(std, dtype=torch.float64).expand(channels)
    middle, width = float(shift.mean()), float(scale.mean())
    scaled = weight.double() / scale[:, None, None]
    offset = (scaled * (middle - shift)[:, None, None]).sum((1, 2, 3))
    return (width * scaled).sum(1, keepdim=True).float(), offset, (middle, width)


def infer_grid_side(tokens: int, where: str) -> tuple[int, int]:
    """Side of the grid and tokens before it in a position embedding of so many tokens."""
    for prefix in (0, 1):
        side = math.isqrt(max(tokens - prefix, 0))
        if side and side * side == tokens - prefix:
            return side, prefix
    raise ConfigError("position embedding of no square grid", where=where, found=f"{tokens} tokens")


def convert_to_own_vit(
    tensors: Tensors, network: Mapping[str, Any], grey: GreyStatistics, where: str
) -> tuple[ViTSettings, Tensors]:
    """Settings and state of `VisionTransformer`; unknown tensors stay and are reported as left over.

    Args:
        tensors: under timm's names, for one channel.
        network: fields of `ViTSettings` that go before what the file says.
        grey: mean and std of the one channel.
        where: the file's name.
    """
    remaining = dict(tensors)
    cls, embedding = remaining.pop("cls_token"), remaining.pop("pos_embed", None)
    if embedding is None:
        raise ConfigError(
            "no position embedding", where=where, expected="pos_embed",
            fix="name the timm architecture if it uses rotary embedding alone",
        )  # fmt: skip
    width, weight = cls.shape[-1], remaining.pop("patch_embed.proj.weight")
    side, prefix = infer_grid_side(embedding.shape[1], where)
    if prefix:
        cls = cls + embedding[:, :1]
    position = rearrange(embedding[:, prefix:], "1 (y x) d -> 1 d y x", y=side)
    registers = remaining.pop("reg_token", torch.zeros(1, 0, width))
    known = {
        "width": width, "patch": weight.shape[-1], "registers": registers.shape[1],
        "image_size": side * weight.shape[-1], "mean": grey[0], "std": grey[1],
    }  # fmt: skip
    settings = ViTSettings.from_values(known | infer_block_shape(remaining, width) | dict(network), where)
    state = {
        "embed.weight": weight, "embed.bias": remaining.pop("patch_embed.proj.bias"), "cls": cls,
        "registers": registers, "position": interpolate_position_embedding(position, settings),
        "mean": torch.tensor(grey[0]), "std": torch.tensor(grey[1]),
    }  # fmt: skip
    token = remaining.pop("mask_token", torch.zeros(width))
    if settings.mask_token:
        state["mask_token"] = token.reshape(-1)
    for block in range(settings.depth):
        remaining.setdefault(f"blocks.{block}.attn.qkv.bias", torch.zeros(3 * width))
    return settings, state | {convert_tensor_name(key): value for key, value in remaining.items()}


def interpolate_position_embedding(position: Tensor, settings: ViTSettings) -> Tensor:
    """Position embedding [1, D, g, g] on the grid of `image_size`, as the network does it."""
    side = settings.image_size // settings.patch
    if position.shape[-1] == side:
        return position
    return F.interpolate(position, size=(side, side), mode="bicubic", antialias=True)


def infer_block_shape(tensors: Tensors, width: int) -> dict[str, Any]:
    """Shape of the blocks from the tensors; D / 64 heads, as in all published ViTs (our choice).

    The value of `layer_scale` only marks that LayerScale is present.
    """
    depth = 1 + max((int(k.split(".")[1]) for k in tensors if k.startswith("blocks.")), default=0)
    hidden = tensors.get("blocks.0.mlp.fc1.weight", torch.zeros(4 * width, 1)).shape[0]
    ratio = hidden / width
    if int(width * ratio) != hidden:
        ratio = math.nextafter(ratio, math.inf)
    scaled = 1e-5 if "blocks.0.ls1.gamma" in tensors else None
    return {"depth": depth, "mlp_ratio": ratio, "layer_scale": scaled, "heads": max(1, width // 64)}


def convert_tensor_name(key: str) -> str:
    """Our name of a tensor inside a block, else the name it has."""
    if not key.startswith("blocks."):
        return key
    _, number, rest = key.split(".", 2)
    for theirs, ours in TIMM_TO_OWN_NAMES.items():
        if rest.startswith(theirs):
            return f"blocks.{number}.{ours}{rest.removeprefix(theirs)}"
    return key


def convert_to_timm_vit(
    tensors: Tensors, network: Mapping[str, Any], grey: GreyStatistics
) -> tuple[ViTSettings, Tensors]:
    """Settings and state of a timm architecture; position embedding resized by timm's rule.

    Arguments as of `convert_to_own_vit`; `network` names the architecture.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    statistics = {"mean": grey[0], "std": grey[1]}
    settings = ViTSettings.from_values(statistics | dict(network), "network")
    state = {key: torch.tensor(value) for key, value in statistics.items()}
    for key, value in tensors.items():
        state[key if key.startswith(("blocks.", "norm.")) else f"stem.{key}"] = value
    token = state.pop("stem.mask_token", torch.zeros(settings.width))
    if settings.mask_token:
        state["mask_token"] = token.reshape(-1)
    position = state.get("stem.pos_embed")
    if position is not None:
        side = settings.image_size // settings.patch
        for prefix in (0, 1, 1 + settings.registers):
            patches = max(position.shape[1] - prefix, 0)
            if math.isqrt(patches) ** 2 == patches:
                state["stem.pos_embed"] = resample_abs_pos_embed(position, [side, side], num_prefix_tokens=prefix)
                break
    return settings, state
