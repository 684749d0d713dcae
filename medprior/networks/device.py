"""Select the compute device by name."""

from __future__ import annotations

import torch

from medprior.errors import ConfigError


def select_device(name: str) -> torch.device:
    """The device called `name`; `auto` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(
            "no such device here", where="device", expected="auto, cpu or cuda:N", found=name, fix="use device=cpu"
        ) from None
    return device
