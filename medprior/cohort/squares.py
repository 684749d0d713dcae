"""Resamples every image of a cohort onto one square grid, cached beside the pixel store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medprior.dicom.display.resample import resize_pixels
from medprior.provenance import atomic_write

ImageReader = Callable[[int], NDArray[np.float32] | None]


def resize_images_into(target: NDArray[np.float32], read: ImageReader, title: str) -> None:
    """Fill `target` [n, size, size] with the images from `read`, area-averaged, clipped to [0, 1]."""
    size = target.shape[1]
    for index in tqdm(range(len(target)), desc=title, unit="img", leave=False, disable=None):
        image = read(index)
        if image is not None:
            target[index] = np.clip(resize_pixels(image, size, size), 0, 1)


def load_cached_square_images(path: Path, count: int, size: int, read: ImageReader) -> NDArray[np.float32]:
    """A memory map of float32 [count, size, size], read-only; filled by `read` if it is absent.

    An array in memory where the folder is not writable.
    """
    shape = (count, size, size)
    if path.is_file():
        cached = np.load(path, mmap_mode="r")
        if cached.shape == shape and cached.dtype == np.float32:
            return np.asanyarray(cached)
    title = f"{size}x{size} squares"
    try:
        with atomic_write(path) as temporary:
            target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            resize_images_into(target, read, title)
            target.flush()
        return np.asanyarray(np.load(path, mmap_mode="r"))
    except PermissionError:
        squares = np.zeros(shape, dtype=np.float32)
        resize_images_into(squares, read, title)
        return squares
