"""Runs test files, and the tests of each, in random order, so that tests that lean on each other are found."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")


def shuffle_by_file(items: list[Item], find_file: Callable[[Item], str], seed: int) -> list[Item]:
    """The items in random order; those of one file stay together, since they share what is costly to make."""
    generator = random.Random(seed)
    files: dict[str, list[Item]] = {}
    for item in items:
        files.setdefault(find_file(item), []).append(item)
    order = sorted(files)
    generator.shuffle(order)
    return [item for name in order for item in generator.sample(files[name], len(files[name]))]
