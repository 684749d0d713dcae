"""Load published weights from a local file; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medprior.errors import ConfigError
from medprior.networks.backbone import load_weights
from medprior.networks.factory import build_encoder
from medprior.networks.vit_settings import ViTSettings
from medprior.networks.weight_conversion import (
    ChannelValues,
    convert_to_own_vit,
    convert_to_timm_vit,
    fold_to_one_channel,
)
from medprior.networks.weight_layouts import Layout, Tensors, detect_layout, rename_to_timm

IMAGENET_STATISTICS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# From memory, not verified: pass mean and std where it matters.
RAD_DINO_STATISTICS = (0.5307,) * 3, (0.2583,) * 3


def load_local(
    path: Path | str,
    network: Mapping[str, Any] | None = None,
    *,
    mean: ChannelValues | None = None,
    std: ChannelValues | None = None,
) -> tuple[ViTSettings, Tensors]:
    """Settings and state of `build_finetune_network(settings)` from a safetensors file.

    Weights for colour images become weights for one channel that give the same answer to a grey image normalised
    channel by channel. Position embeddings are resized to `image_size`.

    Args:
        path: in the layout of timm, facebookresearch dino or dinov2, or Dinov2Model (RAD-DINO).
        network: fields of `ViTSettings` that go before what the file says: `heads`, which a file does not tell (by
            default D / 64), `image_size`, `mask_token`, `drop_path`; or `source="timm"` with `name`, for a file in
            timm's layout that our own network cannot hold (rotary embedding, norms of queries and keys).
        mean: what was subtracted from each channel of [0, 1]; by default ImageNet's, timm's record of the architecture,
            or RAD-DINO's.
        std: what each channel was then divided by; the same defaults.

    Raises:
        ConfigError: a pickle, an unknown layout, or tensors missing, left over or of other shapes.
        InputMissing: no such file, or a damaged one.
    """
    path, network = Path(path), network or {}
    refuse_pickles(path)
    tensors = load_weights(path, None)
    layout, prefix = detect_layout(tensors, path.name)
    converted = rename_to_timm(tensors, layout, prefix)
    is_timm = network.get("source") == "timm"
    shift, scale = default_normalisation(layout, network.get("name", "") if is_timm else "")
    converted, grey = fold_to_one_channel(converted, mean or shift, std or scale, path.name)
    if is_timm:
        settings, state = convert_to_timm_vit(converted, network, grey)
    else:
        settings, state = convert_to_own_vit(converted, network, grey, path.name)
    check_state_fits(settings, state, path.name)
    return settings, state


def refuse_pickles(path: Path) -> None:
    """ConfigError for files that can only be read by running what is in them."""
    if path.suffix.lower() != ".safetensors":
        raise ConfigError(
            "only safetensors are read; a pickle can run code", where=path.name,
            expected="*.safetensors", found=f"*{path.suffix}",
            fix="convert once: safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
            "'weights.safetensors'), picking the inner dictionary of tensors if there is one",
        )  # fmt: skip


def default_normalisation(layout: Layout, name: str) -> tuple[ChannelValues, ChannelValues]:
    """Mean and std per channel that weights of this kind were trained with."""
    if name:
        import timm

        record = timm.get_pretrained_cfg(name)
        if record is not None:
            return tuple(record.mean), tuple(record.std)
    return RAD_DINO_STATISTICS if layout == "huggingface" else IMAGENET_STATISTICS


def check_state_fits(settings: ViTSettings, state: Tensors, where: str) -> None:
    """ConfigError naming what is missing, left over or of another shape."""
    with torch.random.fork_rng(devices=[]):
        expected_state = build_encoder(settings).state_dict()
    faults = {
        "missing": sorted(k for k in expected_state if k not in state),
        "left over": sorted(k for k in state if k not in expected_state),
        "of another shape": [
            f"{k} {list(state[k].shape)} for {list(expected_state[k].shape)}"
            for k in expected_state
            if k in state and state[k].shape != expected_state[k].shape
        ],
    }
    if any(faults.values()):
        listed = [f"{len(v)} {k} ({', '.join(v[:3])}, ...)" for k, v in faults.items() if v]
        raise ConfigError(
            f"weights do not fit: {'; '.join(listed)}", where=where,
            fix="say which network they were made for: source=timm, name, options",
        )  # fmt: skip
