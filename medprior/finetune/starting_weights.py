"""The weights that fine-tuning starts from: a backbone of medprior, or a local file of published weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from medprior.finetune.assembly import refuse_cnn_with_backbone
from medprior.finetune.cnn_weights import CnnWeights, load_cnn_weights
from medprior.finetune.settings import FinetuneSettings
from medprior.networks.backbone import Backbone, load_backbone
from medprior.networks.convolutional import ConvSettings
from medprior.networks.factory import build_encoder
from medprior.networks.weight_layouts import HEAD_PREFIXES, detect_layout
from medprior.networks.weights import load_local
from medprior.pretrain.initial_weights import find_result_folder


@dataclass(frozen=True)
class StartingWeights:
    """What fine-tuning starts from; neither backbone nor CNN for random weights.

    Attributes:
        backbone: a Vision Transformer.
        cnn: weights of a CNN.
        facts: of weights from a file: `layout`, number of `tensors` that were loaded, names that were `left_out`.
    """

    backbone: Backbone | None = None
    cnn: CnnWeights | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def resolve_weights_path(path: Path) -> Path:
    """A backbone's folder, given itself or by its weights file, or a file of other weights."""
    folder = find_result_folder(path)
    return folder if (folder / "config.json").is_file() else path


def load_starting_weights(path: Path | None, settings: FinetuneSettings) -> tuple[StartingWeights, FinetuneSettings]:
    """Load the weights in `path`, and enter what they fix in `settings.network`.

    Args:
        path: a folder of `medprior pretrain`; a safetensors file of a Vision Transformer in a layout of `load_local`,
            or of the CNN that `settings.architecture` names; None for random weights.
        settings: with `network` as the user gave it.

    Raises:
        ConfigError: `architecture` beside a backbone of medprior, weights of another network, or an unknown layout.
        InputMissing: no such backbone or file, or damaged weights.
    """
    if path is None:
        return StartingWeights(), settings
    if not path.is_file() and path.suffix != ".safetensors":
        refuse_cnn_with_backbone(settings)
        return StartingWeights(load_backbone(path)), settings
    if settings.architecture is not None:
        return load_cnn_file(path, settings)
    return load_vit_file(path, settings)


def load_cnn_file(path: Path, settings: FinetuneSettings) -> tuple[StartingWeights, FinetuneSettings]:
    """Load the weights of `settings.architecture`; the input statistics they need go into the settings."""
    shape = settings.network
    given = {name: getattr(shape, name) for name in ("mean", "std") if name in shape.model_fields_set}
    cnn = load_cnn_weights(
        path, ConvSettings.from_values({"architecture": settings.architecture} | given), settings.task
    )
    statistics = {"mean": cnn.mean, "std": cnn.std}
    facts = {"layout": settings.architecture, "tensors": len(cnn.tensors), "left_out": list(cnn.left_out)}
    settings = settings.model_copy(update={"network": shape.model_copy(update=statistics)})
    return StartingWeights(cnn=cnn, facts=facts), settings


def load_vit_file(path: Path, settings: FinetuneSettings) -> tuple[StartingWeights, FinetuneSettings]:
    """Load a Vision Transformer; its shape goes into the settings."""
    fields = settings.network.model_dump(exclude_unset=True)
    fields |= {"image_size": settings.size} if settings.size else {}
    shape, state = load_local(path, fields)
    network = build_encoder(shape)
    network.load_state_dict(state)
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
    layout, prefix = detect_layout(names, path.name)
    left_out = [n for n in names if not n.startswith(prefix) or n.removeprefix(prefix).startswith(HEAD_PREFIXES)]
    facts = {"layout": layout, "tensors": len(names) - len(left_out), "left_out": sorted(left_out)}
    backbone = Backbone(network.eval(), {}, shape.image_size, {})
    return StartingWeights(backbone, facts=facts), settings.model_copy(update={"network": shape})


def format_loaded_weights(facts: dict[str, Any]) -> str:
    """One line on what was loaded from a file and what was left out."""
    left_out = facts["left_out"]
    names = f" ({', '.join(left_out[:3])}{', ...' if len(left_out) > 3 else ''})" if left_out else ""
    return f"weights: {facts['tensors']} tensors loaded, layout {facts['layout']}; {len(left_out)} left out{names}"
