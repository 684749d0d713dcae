"""Backbone, head and loss put together for a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from medprior.errors import ConfigError
from medprior.finetune.data.dataset import LabelledImages
from medprior.finetune.data.targets import compute_positive_weights
from medprior.finetune.losses import masked_bce, masked_dice_bce
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.networks import factory
from medprior.networks.architectures import build_cnn, check_view_size
from medprior.networks.backbone import Backbone
from medprior.networks.convolutional import ConvNet, ConvSettings
from medprior.networks.decoders import Segmenter
from medprior.networks.heads import Classifier
from medprior.networks.vit_settings import ViTSettings

Network = Classifier | Segmenter | ConvNet
LossFunction = Callable[..., Tensor]
"""Of logits, targets and, where images weigh differently, `weight` [B]."""


def resolve_vit_settings(settings: FinetuneSettings, backbone: Backbone | None) -> ViTSettings:
    """The shape of the network: the backbone's, else that of `settings.network`.

    Raises:
        ConfigError: `settings.network` asks for another shape than the backbone has.
    """
    if backbone is None:
        size = settings.size or settings.network.image_size
        update = {"image_size": size, "drop_path": settings.drop_path}
        return ViTSettings.checked(settings.network.model_dump() | update, "network")
    shape = backbone.network.settings
    asked = settings.network.model_dump(exclude_unset=True)
    own = shape.model_dump()
    other = {key: value for key, value in asked.items() if own[key] != value}
    if other:
        raise ConfigError(
            "the backbone has another architecture",
            where="network." + ", network.".join(other),
            expected=", ".join(f"{key}={own[key]}" for key in other),
            found=", ".join(f"{key}={value}" for key, value in other.items()),
            fix="leave network.* out with a backbone, or leave the backbone out",
        )
    return shape.model_copy(update={"drop_path": settings.drop_path})


def build_cnn_settings(settings: FinetuneSettings) -> ConvSettings:
    """What the CNN that `settings` ask for is made from."""
    shape = settings.network
    return ConvSettings(architecture=settings.architecture or "", mean=shape.mean, std=shape.std)


def build_cnn_from_scratch(settings: FinetuneSettings, outputs: int, backbone: Backbone | None) -> ConvNet:
    """A CNN from scratch.

    Raises:
        ConfigError: a backbone is given, no such architecture, or it does not take such views.
    """
    if backbone is not None:
        raise ConfigError(
            "a backbone is a Vision Transformer, and architecture asks for a CNN",
            where="architecture, --backbone", expected="one of the two",
            found=f"{settings.architecture} and a backbone", fix="leave one of them out",
        )  # fmt: skip
    shape = build_cnn_settings(settings)
    check_view_size(shape, settings.task, outputs, settings.size or settings.network.image_size)
    return build_cnn(shape, settings.task, outputs, settings.dropout)


def choose_pooled_heads(settings: FinetuneSettings, assigned: Mapping[str, int]) -> tuple[int, ...]:
    """Heads whose tokens the `pooled` head uses; empty stands for all.

    Raises:
        ConfigError: assigned heads are wanted, and the backbone has none.
    """
    if settings.pooled_heads == "all":
        return ()
    if not assigned:
        raise ConfigError(
            "the backbone has no head assigned to a structure",
            where="pooled_heads",
            expected="a backbone pretrained with a prior",
            fix="set pooled_heads=all",
        )
    return tuple(sorted(set(assigned.values())))


def build_vit_network(
    task: Task,
    shape: ViTSettings,
    settings: FinetuneSettings,
    outputs: int,
    assigned: Mapping[str, int],
) -> Network:
    """A freshly initialised network for `outputs` labels or structures."""
    vit = factory.build_encoder(shape)
    if task == "segmentation":
        return Segmenter(vit, outputs, settings.decoder, settings.channels)
    heads = choose_pooled_heads(settings, assigned) if settings.head == "pooled" else ()
    return Classifier(vit, outputs, settings.head, heads, settings.dropout)


def build_finetune_network(
    settings: FinetuneSettings,
    outputs: int,
    backbone: Backbone | None,
    heads: Mapping[str, int] | None = None,
) -> Network:
    """The network to train, initialised from `settings.seed` and the backbone's weights.

    The global random state is left as it was.

    Args:
        settings: resolved.
        outputs: number of labels or structures.
        backbone: None for one from scratch.
        heads: structure -> head that follows it; by default the backbone's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if settings.architecture is not None:
            return build_cnn_from_scratch(settings, outputs, backbone)
        shape = resolve_vit_settings(settings, backbone)
        assigned = heads if heads is not None else backbone.heads if backbone else {}
        network = build_vit_network(settings.task, shape, settings, outputs, assigned)
    assert not isinstance(network, ConvNet)
    if backbone is not None:
        network.vit.load_state_dict(backbone.network.state_dict())
    if settings.freeze:
        network.vit.requires_grad_(False)
    return network


def build_loss(settings: FinetuneSettings, data: LabelledImages, device: torch.device) -> LossFunction:
    """The loss of the task; with `balance` positives weigh as in the training images."""
    if settings.task == "segmentation":
        return partial(masked_dice_bce, dice_weight=settings.dice_weight)
    if not settings.balance:
        return masked_bce
    weights = compute_positive_weights(data.targets.astype("float32"))
    return partial(masked_bce, pos_weight=torch.from_numpy(weights).to(device))
