"""Select the compute device by name, and send small arrays to it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16"]
CompileChoice = Literal["auto", "on", "off"]


def select_device(name: str) -> torch.device:
    """The device called `name`; `auto` is CUDA where there is one, else the CPU.

    On CUDA, float32 then means IEEE float32 in matrix products and convolutions, not TF32.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(
            "no such device here", where="device", expected="auto, cpu or cuda:N", found=name, fix="use device=cpu"
        ) from None
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return device


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether networks run in bfloat16 by autocast: `auto` does so on a CUDA device that has it in hardware."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


def send_to_device(values: NDArray[np.generic] | Tensor, device: torch.device) -> Tensor:
    """Values on `device`, dtype kept; from the CPU to CUDA they go by pinned memory, and the host does not wait."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
