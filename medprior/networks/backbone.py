"""A pretrained backbone on disk: safetensors beside the configuration that rebuilds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medprior.errors import InputMissing
from medprior.networks.config_checks import BROKEN_CONFIG_ERRORS, broken_config_error, check_network_size
from medprior.networks.encoder import Encoder
from medprior.networks.factory import build_encoder
from medprior.networks.vit_settings import ViTSettings
from medprior.provenance import atomic_write, read_config, sha256_file

BACKBONE_FILE = "backbone.safetensors"


@dataclass(frozen=True)
class Backbone:
    """A pretrained network and its record.

    Attributes:
        network: the teacher, in evaluation mode.
        heads: structure name -> attention head trained on its prior; empty without a prior.
        size: side of the global views it was trained on, pixels.
        config: the whole `config.json`.
    """

    network: Encoder
    heads: dict[str, int]
    size: int
    config: dict[str, Any]


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's parameters and buffers as safetensors, atomically."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)


def load_weights(path: Path, expected_sha256: str | None) -> dict[str, Tensor]:
    """Read safetensors after checking their digest; refuses non-finite values.

    Raises:
        InputMissing: no such file, another digest than recorded, damaged, or not finite.
    """
    check_weights_digest(path, expected_sha256)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputMissing(f"not readable as safetensors ({error})", where=str(path)) from None
    broken = [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise InputMissing("weights are not finite", where=f"{path}: {broken[0]}", fix="use an earlier result")
    return tensors


def check_weights_digest(path: Path, expected_sha256: str | None) -> None:
    """InputMissing unless the file exists and has the digest, where one is given."""
    if not path.is_file():
        raise InputMissing("weights are missing", where=str(path), fix="rerun the stage")
    if expected_sha256 and sha256_file(path) != expected_sha256:
        raise InputMissing(
            "weights differ from the digest in config.json",
            where=str(path), fix="the file is damaged or was replaced: rerun the stage",
        )  # fmt: skip


def load_backbone(folder: Path | str, device: str = "cpu") -> Backbone:
    """Load the teacher that `medprior pretrain` wrote onto `device`.

    Raises:
        InputMissing: no finished pretraining in `folder`, or damaged weights.
    """
    folder = Path(folder)
    config = read_config(folder, "pretrain")
    try:
        backbone = _rebuild_backbone(folder, config)
    except BROKEN_CONFIG_ERRORS as error:
        raise broken_config_error(error, str(folder), "pretrain") from None
    backbone.network.to(device)
    return backbone


def _rebuild_backbone(folder: Path, config: dict[str, Any]) -> Backbone:
    tensors = load_weights(folder / BACKBONE_FILE, config["outputs"].get(BACKBONE_FILE))
    shape = ViTSettings.from_values(config["network"], f"{folder}: network")
    check_network_size(shape, tensors, str(folder))
    network = build_encoder(shape)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise InputMissing(
            "weights do not fit the recorded architecture", where=str(folder), fix="rerun the stage"
        ) from None
    return Backbone(network.eval(), dict(config["heads"]), int(config["view_size"]), config)
