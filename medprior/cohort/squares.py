"""Every picture of a cohort on one square grid, made once and kept beside the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medprior.dicom.display.resample import resize_pixels
from medprior.provenance import atomic_write

PictureSource = Callable[[int], NDArray[np.float32] | None]


def fill_squares(target: NDArray[np.float32], read: PictureSource, title: str) -> None:
    """Fill `target` [n, size, size] with the pictures that `read` gives, area-averaged, clipped."""
    size = target.shape[1]
    for index in tqdm(range(len(target)), desc=title, unit="img", leave=False, disable=None):
        picture = read(index)
        if picture is not None:
            target[index] = np.clip(resize_pixels(picture, size, size), 0, 1)


def load_cached_squares(path: Path, count: int, size: int, read: PictureSource) -> NDArray[np.float32]:
    """A memory map of float32 [count, size, size], read-only; made by `read` if it is not there.

    Made in memory where the cohort's folder cannot be written.
    """
    shape = (count, size, size)
    if path.is_file():
        kept = np.load(path, mmap_mode="r")
        if kept.shape == shape and kept.dtype == np.float32:
            return np.asanyarray(kept)
    title = f"{size}x{size} squares"
    try:
        with atomic_write(path) as temporary:
            target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            fill_squares(target, read, title)
            target.flush()
        return np.asanyarray(np.load(path, mmap_mode="r"))
    except PermissionError:
        made = np.zeros(shape, dtype=np.float32)
        fill_squares(made, read, title)
        return made
