"""`torch.compile` of an encoder's blocks, one at a time, so that all blocks share few graphs."""

from __future__ import annotations

import logging
import shutil

import torch
from torch.utils._triton import has_triton

from medprior.errors import ConfigError
from medprior.networks.device import CompileChoice
from medprior.networks.encoder import Encoder

MIN_RECOMPILES = 64
"""Graphs that one block may need: two sizes of views, with and without gradient and CLS row, each drop-path rate."""

log = logging.getLogger(__name__)


def should_compile(choice: CompileChoice, device: torch.device) -> bool:
    """Whether to compile blocks: `auto` does so on a CUDA device with Triton and a C compiler.

    Raises:
        ConfigError: `on`, on a device without them.
    """
    if choice == "off" or (choice == "auto" and device.type != "cuda"):
        return False
    compilers = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    able = compilers and (device.type != "cuda" or has_triton())
    if not able and choice == "on":
        raise ConfigError(
            "blocks cannot be compiled here", where="compile", expected="Triton and a C compiler",
            found="a C compiler alone" if compilers else "no C compiler", fix="set compile=off",
        )  # fmt: skip
    if not able:
        log.warning("training without torch.compile: it needs Triton and a C compiler")
    return able


def compile_blocks(network: Encoder, backend: str = "inductor") -> None:
    """Compile every block in place; parameters keep their names.

    timm's last block stays as it is: its CLS row is captured by a mode that looks into the block's operations.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MIN_RECOMPILES)
    blocks = list(network.blocks)
    for block in blocks[:-1] if network.settings.source == "timm" else blocks:
        block.compile(dynamic=False, backend=backend)


def restore_eager_blocks(network: Encoder) -> None:
    """Undo `compile_blocks`, as for a device that the graphs were not made for."""
    for block in network.blocks:
        block._compiled_call_impl = None
