"""Processes of one command that a launcher such as `torchrun` started, by the variables it sets."""

from __future__ import annotations

import os


def read_launched_processes() -> tuple[int, int]:
    """Rank of this process and number of processes, from RANK and WORLD_SIZE; (0, 1) without a launcher."""
    rank, size = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return (int(rank), int(size)) if rank.isdigit() and size.isdigit() else (0, 1)
