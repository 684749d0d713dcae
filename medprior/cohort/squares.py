"""Resamples every image of a cohort onto one square grid, cached beside the pixel store."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medprior.cohort.array_file import ArrayFile, Rows, list_row_numbers
from medprior.cohort.store import encode_stored_pixels
from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import WHITE_16_BIT
from medprior.provenance import atomic_write

log = logging.getLogger(__name__)
ImageReader = Callable[[int], NDArray[np.float32] | None]
MAX_THREADS = 8
CHUNK_IMAGES = 64
CACHED_SHARE = 64
"""Squares of fewer than one in so many images of a cohort are not worth a cache of all."""


class StoredRows(Protocol):
    """Squares as they are stored, uint16 of which 65535 is 1, or float32 in [0, 1]: [n, size, size]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """n, size, size."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16 or float32."""

    def read(self, rows: Rows) -> NDArray[Any]:
        """The squares of these rows, [m, size, size]."""


class SquareImages:
    """Images on the unit square, read on request: behaves like float32 [n, size, size] in [0, 1].

    The memory holds no more than what is indexed.

    Args:
        source: has the stored rows of the whole cohort.
        rows: int [n], the images' rows in `source`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, source: StoredRows, rows: NDArray[np.intp]) -> None:
        self._source, self._rows = source, rows

    @property
    def shape(self) -> tuple[int, int, int]:
        """n, size, size."""
        size = self._source.shape[-1]
        return len(self), size, size

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """uint16, of which 65535 is 1; float32 where an earlier version of medprior made the cache."""
        return self._source.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | Rows | list[int]) -> NDArray[np.float32]:
        if isinstance(index, (int, np.integer)):
            return np.asarray(self[np.array([index])][0])
        rows = np.atleast_1d(self._rows[index])
        result = np.empty((len(rows), *self.shape[1:]), np.float32)
        for start in range(0, len(rows), CHUNK_IMAGES):
            part = slice(start, start + CHUNK_IMAGES)
            result[part] = decode_squares(self._source.read(rows[part]))
        return result

    def read_stored(self, index: NDArray[np.intp]) -> NDArray[Any]:
        """The images of these indices as they are stored: `stored_dtype` [m, size, size]."""
        return self._source.read(self._rows[index])


class ResampledImages:
    """Stands in for a cache: resamples images at every read.

    Args:
        read: gives an image of the cohort.
        count: number of images.
        size: side of the squares, pixels.
    """

    dtype = np.dtype(np.uint16)

    def __init__(self, read: ImageReader, count: int, size: int) -> None:
        self._read, self.shape = read, (count, size, size)

    def read(self, rows: Rows) -> NDArray[np.uint16]:
        """uint16 [m, size, size] of these rows."""
        numbers = list_row_numbers(rows, self.shape[0])
        return encode_squares(map(self._read, numbers), len(numbers), self.shape[-1])


def encode_squares(images: Iterable[NDArray[np.float32] | None], count: int, size: int) -> NDArray[np.uint16]:
    """`count` images area-averaged: uint16 [count, size, size], 65535 is 1; black where None."""
    squares = np.zeros((count, size, size), np.uint16)
    for square, image in zip(squares, images, strict=True):
        if image is not None:
            square[:] = encode_stored_pixels(image, (size, size))
    return squares


def decode_squares(stored: NDArray[Any]) -> NDArray[np.float32]:
    """float32 in [0, 1] of stored squares, uint16 or float32."""
    if stored.dtype == np.float32:
        return stored
    return np.asarray(stored.astype(np.float32) / np.float32(WHITE_16_BIT))


def open_square_images(path: Path, count: int, size: int, read: ImageReader, rows: NDArray[np.intp]) -> SquareImages:
    """Squares of the images `rows` of a cohort.

    They are read from the cache at `path`, which is made first where it is absent. Where few images are requested, or
    the cache cannot be written, they are resampled at every read.

    Args:
        path: the cache, a `.npy` file of uint16 [count, size, size]. A float32 one of an earlier version is kept.
        count: number of images of the whole cohort.
        size: side of the squares, pixels.
        read: gives an image of the whole cohort, safe to call from several threads.
        rows: int [n], the requested images' rows in the cohort.
    """
    cached = open_cached_squares(path, (count, size, size))
    if cached is None and len(rows) * CACHED_SHARE >= count:
        try:
            write_squares_cache(path, count, size, read)
            cached = open_cached_squares(path, (count, size, size))
        except OSError as error:
            log.warning("%s: %s; images are resampled at every read", path.name, error.strerror)
    return SquareImages(ResampledImages(read, count, size) if cached is None else cached, rows)


def open_cached_squares(path: Path, shape: tuple[int, int, int]) -> ArrayFile | None:
    """The cache at `path`; None where it is absent, broken or of another shape."""
    try:
        cached = ArrayFile(path)
    except (OSError, ValueError, EOFError):
        return None
    return cached if cached.shape == shape and cached.dtype in (np.uint16, np.float32) else None


def write_squares_cache(path: Path, count: int, size: int, read: ImageReader) -> None:
    """Write uint16 [count, size, size], resampled in threads; no more than a few chunks are in memory.

    Raises:
        OSError: the folder is read-only or full.
    """
    header = {"descr": "<u2", "fortran_order": False, "shape": (count, size, size)}
    starts = range(0, count, CHUNK_IMAGES)
    threads = min(MAX_THREADS, os.cpu_count() or 1)

    def encode_part(first: int) -> NDArray[np.uint16]:
        """One chunk of images."""
        part = range(first, min(first + CHUNK_IMAGES, count))
        return encode_squares(map(read, part), len(part), size)

    bar = tqdm(total=count, desc=f"{size}x{size} squares", unit="img", leave=False, disable=None)
    with atomic_write(path) as temporary, temporary.open("wb") as file, ThreadPoolExecutor(threads) as pool, bar:
        np.lib.format.write_array_header_1_0(file, header)
        for batch in range(0, len(starts), threads):
            for squares in pool.map(encode_part, starts[batch : batch + threads]):
                file.write(squares.data)
                bar.update(len(squares))


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
