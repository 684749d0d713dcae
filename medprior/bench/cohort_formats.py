"""Storage formats of 16-bit pictures, written once and read at random, locally or through fsspec."""

from __future__ import annotations

import importlib
import importlib.util
import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.cohort.store import PixelLocation, ShardAppender, shard_path

Picture = NDArray[np.uint16]
ReadPicture = Callable[[int], Picture]


class StorageFormat(ABC):
    """A storage format of pictures of one size.

    Attributes:
        name: in the table.
    """

    name: str

    @abstractmethod
    def write(self, root: Path, pictures: Picture) -> None:
        """Write uint16 [n, rows, cols] below `root`."""

    @abstractmethod
    def open_local(self, root: Path) -> ReadPicture:
        """A function that reads picture i as a new array from a local folder."""

    @abstractmethod
    def open_remote(self, fs: Any, root: str) -> ReadPicture:
        """A function that reads picture i through an fsspec file system."""


class ShardFormat(StorageFormat):
    """Shards of medprior: contiguous pictures, memory-mapped locally, byte ranges remotely."""

    name = "medprior shards (memory map)"

    def write(self, root: Path, pictures: Picture) -> None:
        """Write shards of about 500 pictures of 512 x 512 each."""
        appender = ShardAppender(root, None)
        self.locations: list[PixelLocation] = [appender.append(picture) for picture in pictures]
        appender.close()

    def open_local(self, root: Path) -> ReadPicture:
        """Read by memory map."""
        maps = {p.shard: np.memmap(shard_path(root, p.shard), "<u2", "r") for p in self.locations}

        def read(index: int) -> Picture:
            """Read one picture."""
            location = self.locations[index]
            first, count = location.offset // 2, location.height * location.width
            flat = maps[location.shard][first : first + count]
            return np.array(flat.reshape(location.height, location.width))

        return read

    def open_remote(self, fs: Any, root: str) -> ReadPicture:
        """Read by one byte range."""

        def read(index: int) -> Picture:
            """Read one picture."""
            location = self.locations[index]
            name = f"{root}/pixels/{location.shard:05d}.u16"
            data = fs.cat_file(name, start=location.offset, end=location.end)
            return np.frombuffer(data, "<u2").reshape(location.height, location.width)

        return read


class NpyFormat(StorageFormat):
    """A .npy file for every picture."""

    name = ".npy files"

    def write(self, root: Path, pictures: Picture) -> None:
        """Write one file per picture."""
        for index, picture in enumerate(pictures):
            np.save(root / f"{index}.npy", picture)

    def open_local(self, root: Path) -> ReadPicture:
        """Read by `numpy.load`."""
        return lambda index: np.load(root / f"{index}.npy")

    def open_remote(self, fs: Any, root: str) -> ReadPicture:
        """Read whole files."""
        return lambda index: np.load(io.BytesIO(fs.cat_file(f"{root}/{index}.npy")))


class PngFormat(StorageFormat):
    """A 16-bit PNG file for every picture."""

    name = "16-bit PNG files"

    def write(self, root: Path, pictures: Picture) -> None:
        """Write one file per picture with Pillow's compression."""
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(root / f"{index}.png")

    def open_local(self, root: Path) -> ReadPicture:
        """Read by Pillow."""
        return lambda index: np.asarray(Image.open(root / f"{index}.png"), dtype=np.uint16)

    def open_remote(self, fs: Any, root: str) -> ReadPicture:
        """Read whole files."""

        def read(index: int) -> Picture:
            """Read one picture."""
            data = io.BytesIO(fs.cat_file(f"{root}/{index}.png"))
            return np.asarray(Image.open(data), dtype=np.uint16)

        return read


class ZarrFormat(StorageFormat):
    """A Zarr v3 array, one chunk for every picture.

    Args:
        shard: pictures in one shard file; 0 for a file per chunk.
        compressed: Zarr's default compression (Zstandard), or none.
    """

    def __init__(self, shard: int, compressed: bool) -> None:
        self._shard, self._compressed = shard, compressed
        files = f"shards of {shard}" if shard else "chunk files"
        self.name = f"Zarr v3 {files}, {'zstd' if compressed else 'raw'}"
        self._zarr: Any = importlib.import_module("zarr")

    def write(self, root: Path, pictures: Picture) -> None:
        """Write one array."""
        rows, cols = pictures.shape[1:]
        array = self._zarr.create_array(
            store=str(root / "a.zarr"),
            shape=pictures.shape,
            chunks=(1, rows, cols),
            shards=(self._shard, rows, cols) if self._shard else None,
            dtype="uint16",
            compressors="auto" if self._compressed else None,
        )
        array[:] = pictures

    def open_local(self, root: Path) -> ReadPicture:
        """Read from a local store."""
        array = self._zarr.open_array(str(root / "a.zarr"), mode="r")
        return lambda index: np.asarray(array[index])

    def open_remote(self, fs: Any, root: str) -> ReadPicture:
        """Read from a store over fsspec."""
        storage: Any = importlib.import_module("zarr.storage")
        if not fs.async_impl:
            wrapper: Any = importlib.import_module("fsspec.implementations.asyn_wrapper")
            fs = wrapper.AsyncFileSystemWrapper(fs, asynchronous=True)
        else:
            fs = type(fs)(asynchronous=True, skip_instance_cache=True, **fs.storage_options)
        store = storage.FsspecStore(fs, read_only=True, path=f"{root}/a.zarr")
        array = self._zarr.open_array(store, mode="r")
        return lambda index: np.asarray(array[index])


def list_formats() -> list[StorageFormat]:
    """All formats whose libraries are installed."""
    formats: list[StorageFormat] = [ShardFormat(), NpyFormat(), PngFormat()]
    if importlib.util.find_spec("zarr") is not None:
        formats += [ZarrFormat(0, True), ZarrFormat(64, True), ZarrFormat(0, False), ZarrFormat(64, False)]
    return formats
