"""Checks of a recorded network configuration: no larger than its weights, no broken record."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from medprior.errors import InputMissing
from medprior.networks.vit_settings import ViTSettings


def check_network_size(shape: ViTSettings, tensors: Mapping[str, Tensor], where: str, channels: int = 0) -> None:
    """Refuse a forged record before a network is built from it.

    Args:
        shape: of the network that would be built.
        tensors: its weights.
        where: for the error.
        channels: of a pyramid decoder, 0 without one.

    Raises:
        InputMissing: the network would have more numbers than the weights.
    """
    available = sum(tensor.numel() for tensor in tensors.values())
    blocks = shape.depth * 4.0 * shape.width**2
    positions = (shape.image_size // shape.patch) ** 2 * float(shape.width)
    if shape.source == "medprior":
        blocks += shape.depth * 2.0 * shape.mlp_ratio * shape.width**2
    else:
        positions = 0.0  # an architecture of timm may have none
    if shape.depth > len(tensors) or not blocks + positions + 9.0 * channels**2 <= available:
        raise InputMissing("the recorded architecture is larger than the weights", where=where, fix="rerun the stage")


# Errors that reading a record of another shape, or a malicious one, can raise.
BROKEN_CONFIG_ERRORS = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    MemoryError,
)


def broken_config_error(error: Exception, where: str, stage: str) -> InputMissing:
    """The error for a `config.json` that lacks something or holds another kind of value."""
    kind = type(error).__name__
    return InputMissing(
        f"config.json is not one of `medprior {stage}` ({kind})", where=where, fix=f"run `medprior {stage}` again"
    )
