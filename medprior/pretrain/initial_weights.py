"""Load the initial weights of pretraining from a local file; nothing is downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from medprior.errors import ConfigError
from medprior.networks.backbone import BACKBONE_FILE, load_backbone
from medprior.networks.vit_settings import ViTSettings
from medprior.networks.weights import load_local
from medprior.pretrain.settings import PretrainSettings

State = dict[str, Tensor]


def load_initial_weights(path: Path, settings: PretrainSettings) -> tuple[ViTSettings, State]:
    """Settings and state of the network that the weights belong to.

    The shape, and the intensities the network expects, come from the weights; `settings.network` must agree.

    Args:
        path: folder of `medprior pretrain` or the weights in it; else a safetensors file that
            `medprior.networks.weights.load_local` reads.
        settings: with `network` as the user gave it.

    Raises:
        ConfigError: the settings ask for another network, or the file is of an unknown kind.
        InputMissing: no such file, or a damaged one.
    """
    asked = settings.network.model_dump(exclude_unset=True)
    masks = settings.network.mask_token or settings.needs.masks
    folder = find_result_folder(path)
    if not folder.is_dir() or (path.is_file() and not (folder / "config.json").is_file()):
        fields = asked | {"image_size": settings.crops.global_size, "mask_token": masks}
        return load_local(path, fields)
    network = load_backbone(folder).network
    shape, state = network.settings, dict(network.state_dict())
    recorded = shape.model_dump()
    changeable = {"mask_token", "drop_path", "mean", "std", "image_size"}
    conflicts = {k: v for k, v in asked.items() if k not in changeable and recorded[k] != v}
    if conflicts:
        raise ConfigError(
            "the weights are of another network", where="network." + ", network.".join(conflicts),
            expected=", ".join(f"{key}={recorded[key]}" for key in conflicts),
            found=", ".join(f"{key}={value}" for key, value in conflicts.items()),
            fix="leave network.* out with --init",
        )  # fmt: skip
    if masks and "mask_token" not in state:
        state["mask_token"] = torch.zeros(shape.width)
    if not masks:
        state.pop("mask_token", None)
    update = {"mask_token": masks, "drop_path": settings.network.drop_path}
    return shape.model_copy(update=update), state


def find_result_folder(path: Path) -> Path:
    """The result folder, given itself or by its weights file."""
    return path.parent if path.name == BACKBONE_FILE else path


def compute_state_digest(state: State) -> str:
    """Hex sha256 of names and values, independent of the file format."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()
