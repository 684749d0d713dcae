"""`SpatialPrior`: maps of each structure, common to all images or one per image, and its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.array_file import ArrayFile
from medprior.errors import InputMissing
from medprior.locks import PRIVATE_FOLDER_MODE
from medprior.provenance import atomic_write, read_config, write_json

Maps = NDArray[np.float32]
PER_IMAGE_FILE, TABLE_FILE = "per_image.npy", "per_image.parquet"
UINT8_MAX = 255
ANNOTATED_STATUS = "annotated"  # of an image whose maps are its own masks


@dataclass(frozen=True)
class SpatialPrior:
    """Maps of K structures on the unit square.

    Shape:
        maps: float32 [K, H, H] in [0, 1], the same for any image.
        per_image: uint8 [n, K, H, H], 255 = 1, the maps of each image; or None.

    Attributes:
        names: structure of each map.
        method: of `PriorSettings`.
        source: `annotation` or `statistics`.
        excluded: ids of the annotated images, which no evaluation may use.
        table: one row per image of `per_image`, in order: `image_id`, `trust` in [0, 1], and the
            record of its registration.
        facts: further entries of `prior.json`.
    """

    maps: Maps = field(repr=False)
    names: tuple[str, ...]
    method: str
    source: str
    excluded: frozenset[str] = frozenset()
    per_image: NDArray[np.uint8] | None = field(default=None, repr=False)
    table: pd.DataFrame | None = field(default=None, repr=False)
    facts: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def _rows(self) -> dict[str, int]:
        if self.table is None:
            return {}
        return {image_id: row for row, image_id in enumerate(self.table.image_id.tolist())}

    def maps_for(self, image_id: str) -> Maps:
        """Maps on the unit square of one image: float32 [K, H, H] in [0, 1].

        The common maps where the image has none of its own.
        """
        row = self._rows.get(image_id)
        if row is None or self.per_image is None:
            return self.maps
        return np.asarray(self.per_image[row], dtype=np.float32) / np.float32(UINT8_MAX)

    def batch(self, image_ids: Sequence[str]) -> Maps:
        """Maps of several images: float32 [n, K, H, H]."""
        return np.stack([self.maps_for(image_id) for image_id in image_ids])

    def find_rows(self, image_ids: Sequence[str]) -> NDArray[np.intp]:
        """Row of each image in `per_image` and `table`, int [n]; -1 where it has none."""
        return np.array([self._rows.get(image_id, -1) for image_id in image_ids], dtype=np.intp)

    def read_stored_maps(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """`per_image` of these rows, uint8 [m, K, H, H]; of a file, no more than these stay in memory."""
        assert self.per_image is not None
        if self._maps_file is not None:
            return self._maps_file.read(rows)
        return np.asarray(self.per_image[rows])

    @cached_property
    def _maps_file(self) -> ArrayFile | None:
        """The file that `per_image` maps."""
        is_mapped = isinstance(self.per_image, np.memmap) and self.per_image.filename is not None
        return ArrayFile(self.per_image.filename) if is_mapped else None  # type: ignore[union-attr]

    def compute_trust(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """`trust` of the images in these rows of `find_rows`, float32 [m]."""
        if self.table is None:
            return np.ones(len(rows), np.float32)
        trust = self.table.trust.to_numpy(dtype=np.float32)
        return np.where(rows >= 0, trust[np.maximum(rows, 0)], np.float32(0)).astype(np.float32)

    def trust(self, image_id: str) -> float:
        """Trust in the maps of an image, in [0, 1].

        1 where all images share the maps, and of an annotated image. Of other per-image maps: 0.5 where
        registration fell back to the affine transformation or the maps are doubtful, 0 where it failed or
        the id is unknown.
        """
        if self.table is None:
            return 1.0
        row = self._rows.get(image_id)
        return 0.0 if row is None else float(self.table.trust.iloc[row])

    def save(self, path: Path | str) -> None:
        """Write the files of the prior; `build_prior` adds the picture and `config.json`."""
        folder = Path(path)
        folder.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        with atomic_write(folder / "prior.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, maps=self.maps.astype(np.float32), names=np.array(self.names))
        if self.per_image is not None and self.table is not None:
            with atomic_write(folder / PER_IMAGE_FILE) as temporary, temporary.open("wb") as file:
                np.save(file, self.per_image)
            with atomic_write(folder / TABLE_FILE) as temporary:
                self.table.to_parquet(temporary, index=False)
        record = {
            **self.facts,
            "names": list(self.names),
            "method": self.method,
            "source": self.source,
            "excluded": sorted(self.excluded),
            "size": int(self.maps.shape[-1]),
            "images": 0 if self.table is None else len(self.table),
        }
        write_json(folder / "prior.json", record)

    @classmethod
    def load(cls, path: Path | str) -> SpatialPrior:
        """Open a prior; per-image maps are memory-mapped.

        Raises:
            InputMissing: no finished prior there, or a file of it is missing or broken.
        """
        folder = Path(path)
        read_config(folder, "prior")
        try:
            record = json.loads((folder / "prior.json").read_text(encoding="utf-8"))
            with np.load(folder / "prior.npz", allow_pickle=False) as arrays:
                maps, names = arrays["maps"], tuple(str(name) for name in arrays["names"])
            has_images = record["images"] > 0
            per_image = np.load(folder / PER_IMAGE_FILE, mmap_mode="r") if has_images else None
            table = pd.read_parquet(folder / TABLE_FILE) if has_images else None
            return cls._of(maps, names, record, per_image, table)
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError,
            BadZipFile,
        ):  # fmt: skip
            raise InputMissing(
                "a file of the prior is missing or broken",
                where=folder.name,
                fix="run `medprior prior` into it again",
            ) from None

    @classmethod
    def _of(
        cls,
        maps: Maps,
        names: tuple[str, ...],
        record: dict[str, Any],
        per_image: NDArray[np.uint8] | None,
        table: pd.DataFrame | None,
    ) -> SpatialPrior:
        fields = {"names", "method", "source", "excluded", "size", "images"}
        if maps.dtype.kind != "f" or maps.ndim != 3 or len(maps) != len(names):
            raise ValueError("not maps [K, H, W] with K names")
        return cls(
            maps=maps,
            names=names,
            method=record["method"],
            source=record["source"],
            excluded=frozenset(record["excluded"]),
            per_image=per_image,
            table=table,
            facts={key: value for key, value in record.items() if key not in fields},
        )
