"""Builds the network (backbone and head) and the loss of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from medprior.errors import ConfigError
from medprior.finetune.cnn_weights import CnnWeights
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
"""Arguments: logits, targets and, where images differ in weight, `weight` [B]."""


def resolve_vit_settings(settings: FinetuneSettings, backbone: Backbone | None) -> ViTSettings:
    """The shape of the network: the backbone's, else that of `settings.network`.

    Raises:
        ConfigError: `settings.network` asks for another shape than the backbone has.
    """
    if backbone is None:
        size = settings.size or settings.network.image_size
        update = {"image_size": size, "drop_path": settings.drop_path}
        return ViTSettings.from_values(settings.network.model_dump() | update, "network")
    shape = backbone.network.settings
    requested = settings.network.model_dump(exclude_unset=True)
    recorded = shape.model_dump()
    conflicts = {key: value for key, value in requested.items() if recorded[key] != value}
    if conflicts:
        raise ConfigError(
            "the backbone has another architecture",
            where="network." + ", network.".join(conflicts),
            expected=", ".join(f"{key}={recorded[key]}" for key in conflicts),
            found=", ".join(f"{key}={value}" for key, value in conflicts.items()),
            fix="leave network.* out with a backbone, or leave the backbone out",
        )
    return shape.model_copy(update={"drop_path": settings.drop_path})


def build_cnn_settings(settings: FinetuneSettings) -> ConvSettings:
    """The settings of the CNN that `settings` ask for."""
    shape = settings.network
    return ConvSettings(architecture=settings.architecture or "", mean=shape.mean, std=shape.std)


def refuse_cnn_with_backbone(settings: FinetuneSettings) -> None:
    """Raise ConfigError where `architecture` asks for a CNN, for use beside a Vision Transformer."""
    if settings.architecture is not None:
        raise ConfigError(
            "a backbone is a Vision Transformer, and architecture asks for a CNN",
            where="architecture, --backbone", expected="one of the two",
            found=f"{settings.architecture} and a backbone",
            fix="leave one of them out, or give a safetensors file of that CNN",
        )  # fmt: skip


def build_cnn_network(settings: FinetuneSettings, outputs: int, weights: CnnWeights | None) -> ConvNet:
    """Build a CNN, from random weights but for those that are given.

    Raises:
        ConfigError: the architecture does not exist, or does not fit the views.
    """
    shape = build_cnn_settings(settings)
    check_view_size(shape, settings.task, outputs, settings.size or settings.network.image_size)
    network = build_cnn(shape, settings.task, outputs, settings.dropout)
    if weights is not None:
        network.body.load_state_dict(weights.tensors, strict=False)  # without the layers that follow the outputs
    return network


def choose_pooled_heads(settings: FinetuneSettings, assigned: Mapping[str, int]) -> tuple[int, ...]:
    """Attention heads whose tokens the `pooled` head uses; empty for all.

    Raises:
        ConfigError: assigned heads are requested, and the backbone has none.
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
    """Build a freshly initialised network for `outputs` labels or structures."""
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
    cnn: CnnWeights | None = None,
) -> Network:
    """Build the network to train, initialised from `settings.seed` and the backbone's weights.

    The global random state is unchanged.

    Args:
        settings: resolved.
        outputs: number of labels or structures.
        backbone: None to train from scratch.
        heads: structure -> head that follows it; by default the backbone's.
        cnn: weights of the CNN that `settings.architecture` names; None to train it from scratch.

    Raises:
        ConfigError: a backbone beside `settings.architecture`.
    """
    if backbone is not None:
        refuse_cnn_with_backbone(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if settings.architecture is not None:
            return build_cnn_network(settings, outputs, cnn)
        shape = resolve_vit_settings(settings, backbone)
        assigned = heads if heads is not None else backbone.heads if backbone else {}
        network = build_vit_network(settings.task, shape, settings, outputs, assigned)
    assert not isinstance(network, ConvNet)
    if backbone is not None:
        network.vit.load_state_dict(backbone.network.state_dict())
    if network.vit.mask_token is not None:
        network.vit.mask_token.requires_grad_(False)  # no patch is masked here
    if settings.freeze:
        network.vit.requires_grad_(False)
    return network


def build_loss(settings: FinetuneSettings, data: LabelledImages, device: torch.device) -> LossFunction:
    """Build the loss of the task; `balance` weights positives by their rarity in the training images."""
    if settings.task == "segmentation":
        return partial(masked_dice_bce, dice_weight=settings.dice_weight)
    if not settings.balance:
        return masked_bce
    weights = compute_positive_weights(data.targets.astype("float32"))
    return partial(masked_bce, pos_weight=torch.from_numpy(weights).to(device))
