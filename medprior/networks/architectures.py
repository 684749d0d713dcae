"""CNNs by architecture name, and checks of view size and recorded weights.

Nothing is downloaded: all start from random weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medprior.errors import ConfigError, InputMissing
from medprior.networks.convolutional import ConvNet, ConvSettings, ForwardPass

UNET_NAMES = ("unet", "basic_unet")
DENSENET = "densenet121"
UNET_CHANNELS = (16, 32, 64, 128, 256)
MIN_MAP_SIDE = 2
# Errors of torch, MONAI or timm for an architecture that does not fit.
ARCHITECTURE_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, KeyError, IndexError)


def build_cnn(
    settings: ConvSettings, task: Literal["classification", "segmentation"], outputs: int, dropout: float = 0.0
) -> ConvNet:
    """A freshly initialised CNN, from torch's global random state.

    Classification: `densenet121` (MONAI's; Huang et al. 2017), or any network of timm that makes feature maps, by its
    timm name. Segmentation: `unet` (MONAI's with residual units, Kerfoot et al. 2018) or `basic_unet` (Falk et al.
    2019).

    Args:
        settings: the architecture and its input statistics.
        task: of the network.
        outputs: number of labels or structures.
        dropout: before the classifier.

    Raises:
        ConfigError: no such architecture for this task.
    """
    if task == "segmentation":
        body, run = build_unet(settings.architecture, outputs)
    elif settings.architecture == DENSENET:
        body, run = build_densenet(outputs, dropout)
    else:
        body, run = build_timm_cnn(settings.architecture, outputs, dropout)
    return ConvNet(settings, body, run)


def unknown_architecture_error(name: str, task: str) -> ConfigError:
    """The error for an unknown name."""
    expected = f"{DENSENET}, or a CNN of timm such as convnext_atto or resnet18"
    return ConfigError(
        f"unknown CNN architecture for {task}", where="architecture",
        expected=" or ".join(UNET_NAMES) if task == "segmentation" else expected, found=repr(name),
    )  # fmt: skip


def build_densenet(outputs: int, dropout: float) -> tuple[nn.Module, ForwardPass]:
    """MONAI's DenseNet121 for one-channel images."""
    from monai.networks.nets.densenet import DenseNet121

    body = DenseNet121(spatial_dims=2, in_channels=1, out_channels=outputs)
    head: Any = body.class_layers
    head.out = nn.Sequential(nn.Dropout(dropout), head.out)

    return body, forward_densenet


def build_timm_cnn(name: str, outputs: int, dropout: float) -> tuple[nn.Module, ForwardPass]:
    """A network of timm that makes feature maps."""
    import timm

    if not timm.is_model(name):
        raise unknown_architecture_error(name, "classification")
    try:
        body: Any = timm.create_model(name, pretrained=False, in_chans=1, num_classes=outputs, drop_rate=dropout)
    except ARCHITECTURE_ERRORS as error:
        raise ConfigError(
            f"timm does not make {name} for one-channel images ({type(error).__name__})",
            where="architecture", expected="another CNN of timm",
        ) from None  # fmt: skip

    network: nn.Module = body
    return network, forward_timm_cnn


def build_unet(name: str, outputs: int) -> tuple[nn.Module, ForwardPass]:
    """MONAI's UNet or BasicUNet; the deepest map comes from a hook."""
    from monai.networks.nets.basic_unet import BasicUNet
    from monai.networks.nets.unet import UNet

    body: nn.Module
    if name == "unet":
        body = UNet(
            spatial_dims=2, in_channels=1, out_channels=outputs, channels=UNET_CHANNELS,
            strides=(2,) * (len(UNET_CHANNELS) - 1), num_res_units=2,
        )  # fmt: skip
    elif name == "basic_unet":
        body = BasicUNet(spatial_dims=2, in_channels=1, out_channels=outputs)
    else:
        raise unknown_architecture_error(name, "segmentation")
    return body, forward_unet


def forward_densenet(body: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """A pass of MONAI's DenseNet."""
    maps = body.features(images)
    return body.class_layers(maps.clone()), maps  # its first layer works in place


def forward_timm_cnn(body: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """A pass of a network of timm."""
    maps = body.forward_features(images)
    return body.forward_head(maps), maps


def forward_unet(body: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """A pass of a U-Net, its deepest map by a hook."""
    deepest: list[Tensor] = []
    hook = find_bottleneck_layer(body).register_forward_hook(lambda _, __, maps: deepest.append(maps))
    try:
        logits: Tensor = body(images)
    finally:
        hook.remove()
    return logits, deepest[-1]


def find_bottleneck_layer(unet: nn.Module) -> nn.Module:
    """The innermost layer: of MONAI's UNet, which is nested skip connections, or BasicUNet."""
    from monai.networks.layers.simplelayers import SkipConnection

    skips = [module for module in unet.modules() if isinstance(module, SkipConnection)]
    if not skips:
        return unet.get_submodule("down_4")
    return skips[-1].get_submodule("submodule")


def check_view_size(
    settings: ConvSettings, task: Literal["classification", "segmentation"], outputs: int, size: int
) -> None:
    """Refuse an architecture that does not take square views of this size; nothing is allocated.

    Raises:
        ConfigError: no such architecture, it is no CNN, or its deepest map would be smaller than 2 x 2, on which a norm
            over one image has nothing to go by.
    """
    name = settings.architecture
    try:
        with torch.device("meta"):
            network = build_cnn(settings, task, outputs).train()
            logits, tokens = network.forward_with_tokens(torch.empty(2, 1, size, size))
        expected_shape = (2, outputs) if task == "classification" else (2, outputs, size, size)
        rows, columns = tokens.grid
        if rows != columns or tuple(logits.shape) != expected_shape:
            raise ValueError("no square feature maps")
    except ARCHITECTURE_ERRORS as error:
        raise ConfigError(
            f"{name} does not give a square feature map and the expected output shape at this view size",
            where="architecture, size",
            expected="a CNN, and for unet a size that is a multiple of 16",
            found=f"{name} at {size} pixels ({type(error).__name__})",
        ) from None
    if rows < MIN_MAP_SIDE:
        raise ConfigError(
            f"the view is too small for {name}", where="size",
            expected=f"a deepest map of at least {MIN_MAP_SIDE} x {MIN_MAP_SIDE}",
            found=f"{rows} x {columns} at {size} pixels", fix="raise size",
        )  # fmt: skip


def check_weight_shapes(
    settings: ConvSettings,
    task: Literal["classification", "segmentation"],
    outputs: int,
    tensors: Mapping[str, Tensor],
    where: str,
) -> None:
    """Refuse a forged record before a network is built from it; nothing is allocated.

    Raises:
        ConfigError: no such architecture.
        InputMissing: its weights have other names or shapes than `tensors`.
    """
    try:
        with torch.device("meta"):
            network = build_cnn(settings, task, outputs)
    except ARCHITECTURE_ERRORS as error:
        raise ConfigError(f"the architecture cannot be made ({type(error).__name__})", where=where) from None
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if shapes != {name: tuple(value.shape) for name, value in tensors.items()}:
        raise InputMissing("weights do not fit the recorded architecture", where=where, fix="rerun the stage")
