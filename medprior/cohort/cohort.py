"""Read-only access to a finished cohort: manifest, pixels, masks, labels, splits and subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import CHUNK_ROWS, MASK_PREFIX, SPLITS, select_label_columns
from medprior.cohort.manifest import ManifestFile, report_broken_manifest
from medprior.cohort.squares import SquareImages, load_cached_square_images, open_square_images
from medprior.cohort.store import PixelLocation, PixelStore, read_mask
from medprior.errors import ConfigError, InputMissing
from medprior.provenance import read_config


class Cohort:
    """All or some images of a cohort folder, read-only. Create one with `Cohort.open`."""

    def __init__(
        self,
        path: Path,
        manifest: ManifestFile,
        locations: NDArray[np.int64],
        rows: NDArray[np.intp],
    ) -> None:
        self.path = path
        self._full_manifest = manifest
        self._locations = locations
        self._rows = rows
        self._store = PixelStore(path)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a finished cohort.

        Raises:
            InputMissing: the folder holds no cohort, or an unfinished one.
        """
        folder = Path(path)
        read_config(folder, "ingest")
        try:
            manifest = ManifestFile(folder)
            image_ids = manifest.read_column("image_id")
            index = pd.read_parquet(folder / "pixels" / "index.parquet")
            if not index.image_id.equals(image_ids):
                index = index.set_index("image_id").loc[image_ids]
            locations = index[list(PixelLocation.__dataclass_fields__)].to_numpy(dtype=np.int64)
        except (OSError, ValueError, KeyError):
            raise report_broken_manifest(folder) from None
        return cls(folder, manifest, locations, np.arange(len(manifest)))

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """The manifest's rows of these images, with all columns."""
        return self._full_manifest.frame.iloc[self._rows].reset_index(drop=True)

    @cached_property
    def image_ids(self) -> tuple[str, ...]:
        """Ids of the images, in manifest order."""
        return tuple(self._column("image_id"))

    @cached_property
    def _row_by_id(self) -> dict[str, int]:
        return {image_id: index for index, image_id in enumerate(self.image_ids)}

    def _column(self, name: str) -> pd.Series:
        """One column of the manifest for these images."""
        return self._full_manifest.read_column(name).iloc[self._rows]

    @cached_property
    def digest(self) -> str:
        """Hex sha256 over the manifest rows of this (sub)cohort: pixels, labels, split, metadata."""
        digest = hashlib.sha256()
        for start in range(0, max(len(self), 1), CHUNK_ROWS):
            part = self.manifest.iloc[start : start + CHUNK_ROWS]
            digest.update(part.to_csv(index=False, float_format="%.9g", header=start == 0).encode())
        return digest.hexdigest()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the label columns."""
        return select_label_columns(self._full_manifest.columns)

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures for which at least one image of the whole cohort has a mask."""
        names = self._full_manifest.columns
        return tuple(name.removeprefix(MASK_PREFIX) for name in names if name.startswith(MASK_PREFIX))

    @property
    def patient_ids(self) -> NDArray[np.str_]:
        """Patient pseudonym of every image, in manifest order."""
        return np.array(self._column("patient_id").tolist(), dtype=np.str_)

    @property
    def aspect(self) -> NDArray[np.float64]:
        """Physical width / height of every image (stored pixels are square)."""
        return (self._column("cols") / self._column("rows")).to_numpy(dtype=np.float64)

    def _subset(self, rows: NDArray[np.intp]) -> Cohort:
        return Cohort(self.path, self._full_manifest, self._locations, self._rows[rows])

    def split(self, name: str) -> Cohort:
        """The images of one split.

        Raises:
            ConfigError: no such split name.
            InputMissing: the split is empty.
        """
        if name not in SPLITS:
            raise ConfigError("no such split", where=name, expected=" or ".join(SPLITS))
        rows = np.flatnonzero((self._column("split") == name).to_numpy())
        if not len(rows):
            patients = self._column("patient_id").nunique()
            raise InputMissing(
                f"split {name!r} is empty; the cohort has {len(self)} image(s) of {patients} patient(s)",
                where=self.path.name,
                fix="ingest more patients, or another split seed (`medprior ingest --seed`)",
            )
        return self._subset(rows)

    def select(self, image_ids: Sequence[str]) -> Cohort:
        """The images with these ids, in this order.

        Raises:
            InputMissing: an id is not in the cohort.
        """
        return self._subset(np.array([self._index(image_id) for image_id in image_ids], dtype=np.intp))

    def take(self, n: int, seed: int = 0) -> Cohort:
        """At most `n` images sampled without replacement, in manifest order."""
        if n >= len(self):
            return self
        rng = np.random.default_rng([seed, len(self)])
        return self._subset(np.sort(rng.permutation(len(self))[:n]))

    def _index(self, image_id: str) -> int:
        try:
            return self._row_by_id[image_id]
        except KeyError:
            raise InputMissing(
                "no such image in the cohort",
                where=f"image_id {image_id}",
                fix=f"look into {self.path.name}/manifest.parquet",
            ) from None

    def _location(self, row: int) -> PixelLocation:
        """The stored location of the image in this row of the whole manifest."""
        return PixelLocation(*self._locations[row].tolist())

    def pixels(self, image_id: str) -> NDArray[np.float32]:
        """One image at store resolution with its aspect ratio: float32 [h, w] in [0, 1]."""
        return self._store.read(self._location(self._rows[self._index(image_id)]))

    def valid(self, image_id: str) -> NDArray[np.bool_]:
        """Boolean [h, w] on the grid of `pixels`; False in padding and outside the shutter."""
        location = self._location(self._rows[self._index(image_id)])
        path = self.path / "masks" / "valid" / f"{image_id}.png"
        return read_mask(path) if path.is_file() else np.ones((location.height, location.width), bool)

    def mask(self, image_id: str, structure: str) -> NDArray[np.bool_] | None:
        """Boolean [h, w] on the grid of `pixels`, or None where the image has no such mask."""
        index = self._index(image_id)
        column = MASK_PREFIX + structure
        if column not in self._full_manifest.columns:
            return None
        path = self._full_manifest.read_column(column).iloc[self._rows[index]]
        return None if pd.isna(path) else read_mask(self.path / str(path))

    def labels(self, names: Sequence[str] | None = None) -> NDArray[np.float32]:
        """float32 [n, C] in [0, 1], NaN unknown, for `names` (default: all labels).

        Raises:
            InputMissing: the cohort has no such label.
        """
        names = list(self.label_names if names is None else names)
        unknown = sorted(set(names) - set(self.label_names))
        if unknown:
            raise InputMissing(
                f"no label {', '.join(unknown)}",
                where=self.path.name,
                expected=", ".join(self.label_names) or "(the cohort has no labels)",
            )
        columns = [self._column(name).to_numpy(dtype=np.float32) for name in names]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self), 0), np.float32)

    def squares(self, size: int) -> NDArray[np.float32]:
        """Every image area-averaged onto the unit square: float32 [n, size, size] in [0, 1], in memory.

        Values are rounded to 16 bits, as the store's. Images are stretched to a square; `medprior.geometry` tracks the
        aspect ratio. Use `open_squares` where the images may be many.
        """
        return self.open_squares(size)[:]

    def open_squares(self, size: int) -> SquareImages:
        """As `squares`, but nothing is read before it is indexed.

        The squares of the whole cohort are computed once, as `cache/squares_<size>.npy`.
        """
        path = self.path / "cache" / f"squares_{size}.npy"
        return open_square_images(path, len(self._full_manifest), size, self._read_row, self._rows)

    def _read_row(self, row: int) -> NDArray[np.float32]:
        """The image in this row of the whole manifest."""
        return self._store.read(self._location(row))

    def mask_squares(self, structure: str, size: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Coverage of a structure on the unit square, and whether the image has its mask.

        Returns:
            float32 [n, size, size] in [0, 1], 0 without a mask; bool [n].
        """
        column = MASK_PREFIX + structure
        if column not in self._full_manifest.columns:
            return np.zeros((len(self), size, size), np.float32), np.zeros(len(self), bool)
        paths = self._full_manifest.read_column(column)
        names, has_mask = paths.tolist(), paths.notna().to_numpy()

        def read(index: int) -> NDArray[np.float32] | None:
            """One mask as coverage, None where unknown."""
            return read_mask(self.path / names[index]).astype(np.float32) if has_mask[index] else None

        path = self.path / "cache" / f"{column}_{size}.npy"
        return self._select_rows(load_cached_square_images(path, len(names), size, read)), has_mask[self._rows]

    def _select_rows(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        is_whole = len(self._rows) == len(values) and bool((self._rows == np.arange(len(values))).all())
        return values if is_whole else np.asarray(values[self._rows])
