"""Stores 16-bit images back to back in large shard files and reads them by position."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medprior.dicom.display.resample import resize_pixels
from medprior.dicom.radiograph import WHITE_16_BIT
from medprior.errors import InputMissing
from medprior.locks import LOCK_FILE
from medprior.provenance import fsync_path

PIXEL_FOLDER = "pixels"
SHARD_BYTES = 256 * 2**20
SYNC_THREADS = 8


@dataclass(frozen=True)
class PixelLocation:
    """Location of one stored image: shard number, byte offset, and size in pixels."""

    shard: int
    offset: int
    height: int
    width: int

    @property
    def end(self) -> int:
        """First byte after the image."""
        return self.offset + 2 * self.height * self.width

    def record(self) -> dict[str, int]:
        """JSON-able form."""
        return asdict(self)


def shard_path(root: Path, shard: int) -> Path:
    """File of shard number `shard` in the cohort folder `root`."""
    return root / PIXEL_FOLDER / f"{shard:05d}.u16"


class PixelStore:
    """Reads images by location. Neither files nor pages stay open, so that memory and files do not grow with shards."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, location: PixelLocation) -> NDArray[np.float32]:
        """float32 [height, width] in [0, 1]."""
        path, count = shard_path(self.root, location.shard), location.height * location.width
        try:
            flat = np.fromfile(path, dtype="<u2", count=count, offset=location.offset)
        except FileNotFoundError:
            flat = np.empty(0, np.uint16)
        if len(flat) < count:
            raise InputMissing(
                "a pixel shard is missing or truncated",
                where=f"{self.root.name}/{PIXEL_FOLDER}/{path.name}",
                fix="run `medprior ingest` into this cohort again",
            )
        return flat.reshape(location.height, location.width).astype(np.float32) / np.float32(WHITE_16_BIT)


def encode_stored_pixels(pixels: NDArray[np.float32] | NDArray[np.uint16], size: tuple[int, int]) -> NDArray[np.uint16]:
    """The stored form of an image, uint16 of `size`; a uint16 image of that size is unchanged.

    Shape:
        pixels: float32 [rows, cols] in [0, 1], or uint16 [rows, cols] with 65535 for 1.
    """
    if pixels.dtype == np.uint16 and pixels.shape == size:
        return np.asarray(pixels, dtype=np.uint16)
    floats = np.asarray(pixels, dtype=np.float32)
    if pixels.dtype == np.uint16:
        floats = floats / np.float32(WHITE_16_BIT)
    scaled = np.clip(resize_pixels(floats, *size), 0, 1) * np.float32(WHITE_16_BIT)
    return np.asarray(np.rint(scaled), dtype=np.uint16)


class ShardAppender:
    """Appends images; bytes after the last known location are truncated on opening."""

    def __init__(self, root: Path, last: PixelLocation | None, shard_bytes: int = SHARD_BYTES) -> None:
        self.root, self.limit = root, shard_bytes
        self.shard, self.size = (last.shard, last.end) if last else (0, 0)
        (root / PIXEL_FOLDER).mkdir(parents=True, exist_ok=True)
        for path in sorted((root / PIXEL_FOLDER).glob("*.u16")):
            if path.name > shard_path(root, self.shard).name:
                path.unlink()
        self._file = self._open()

    def _open(self) -> Any:
        file = shard_path(self.root, self.shard).open("ab")
        file.truncate(self.size)
        return file

    def append(self, pixels: NDArray[np.uint16]) -> PixelLocation:
        """Store uint16 [h, w] and return its location."""
        height, width = pixels.shape
        if self.size and self.size + 2 * pixels.size > self.limit:
            os.fsync(self._file.fileno())
            self.close()
            self.shard, self.size = self.shard + 1, 0
            self._file = self._open()
        location = PixelLocation(self.shard, self.size, height, width)
        self._file.write(np.ascontiguousarray(pixels, dtype="<u2").data)
        self._file.flush()
        self.size = location.end
        return location

    def close(self) -> None:
        """Close the current shard."""
        self._file.close()

    def duplicate_descriptor(self) -> int:
        """A file descriptor of the current shard for `fsync`; full shards are already on disk."""
        return os.dup(self._file.fileno())


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write bool [h, w] as a one-bit PNG, atomically, without `fsync`."""
    draft = path.with_name(f".{path.name}")
    try:
        with draft.open("wb") as file:
            Image.fromarray(mask).save(file, format="PNG")
    except FileNotFoundError:
        path.parent.mkdir(parents=True)
        return write_mask(path, mask)
    draft.replace(path)


def fsync_masks(paths: Sequence[Path]) -> None:
    """Force mask files, and then their folders, onto the disk; in parallel, which is 20 times as fast."""
    if not paths:
        return
    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        for batch in (paths, sorted({path.parent for path in paths})):
            list(pool.map(fsync_path, batch))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A one-bit PNG as bool [h, w]."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("1"), dtype=bool)
    except OSError:
        raise InputMissing(
            "a mask of the cohort is missing or broken",
            where="/".join(path.parts[-3:]),
            fix="run `medprior ingest` into this cohort again",
        ) from None


def parse_pixel_location(record: Mapping[str, Any]) -> PixelLocation:
    """The location in a journal or index record."""
    return PixelLocation(*(int(record[key]) for key in ("shard", "offset", "height", "width")))


def remove_partial_files(folder: Path) -> None:
    """Remove half-written files of a killed writer."""
    for path in (folder, folder / "pixels", *(folder / "masks").glob("*")):
        if path.is_dir():
            for entry in os.scandir(path):
                if entry.name.startswith(".") and entry.name != LOCK_FILE:
                    Path(entry.path).unlink(missing_ok=True)
