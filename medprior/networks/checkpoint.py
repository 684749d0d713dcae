"""Checkpoints that survive a crash: atomic, with a digest beside them, at least two kept."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from medprior.errors import InputMissing
from medprior.provenance import atomic_write, sha256_file

MIN_CHECKPOINTS = 2
logger = logging.getLogger(__name__)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int = MIN_CHECKPOINTS) -> Path:
    """Write `state` as `step_<step>.pt` and its sha256; remove all but the newest `keep`.

    Args:
        folder: made when missing.
        step: finished steps (or epochs).
        state: tensors, numbers, strings and containers of them.
        keep: checkpoints to leave, 2 or more.
    """
    path = folder / f"step_{step:08d}.pt"
    with atomic_write(path) as temporary:
        torch.save(state, temporary)
        # The digest comes first: a checkpoint without one would count as damaged after a crash.
        with atomic_write(path.with_suffix(".sha256")) as beside:
            beside.write_text(sha256_file(temporary) + "\n")
    for old in sorted(folder.glob("step_*.pt"))[: -max(keep, MIN_CHECKPOINTS)]:
        old.unlink()
        old.with_suffix(".sha256").unlink(missing_ok=True)
    return path


def load_newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of `folder`, or None where there is none.

    A damaged one is passed over with a warning; the one before it serves.

    Raises:
        InputMissing: there are checkpoints and all are damaged; nothing is restarted silently.
    """
    paths = sorted(folder.glob("step_*.pt"), reverse=True)
    for path in paths:
        beside = path.with_suffix(".sha256")
        if beside.is_file() and sha256_file(path) == beside.read_text().strip():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError):
                state = None  # it holds more than tensors and numbers, and was not run
            if isinstance(state, dict):
                return state
        logger.warning("checkpoint %s is damaged; trying the one before it", path.name)
    if paths:
        raise InputMissing(
            "every checkpoint is damaged",
            where=str(folder),
            fix="remove the folder to start again, or use another output folder",
        )
    return None
