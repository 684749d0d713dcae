"""Reads the manifest of a finished cohort column by column: ten million rows rarely need them all."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet

from medprior.errors import InputMissing


class ManifestFile:
    """`manifest.parquet` of a cohort folder, columns read on first use.

    The file stays the one that was opened, even if the cohort is written anew.

    Args:
        folder: the cohort folder.

    Raises:
        OSError, ValueError: it is missing or no parquet file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        parquet: Any = pyarrow.parquet  # without types
        self._file = parquet.ParquetFile(folder / "manifest.parquet")
        self.columns: tuple[str, ...] = tuple(self._file.schema_arrow.names)
        self._series: dict[str, pd.Series] = {}

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def __reduce__(self) -> tuple[type[ManifestFile], tuple[Path]]:
        return type(self), (self._folder,)

    def read_column(self, name: str) -> pd.Series:
        """One column of all images, read once.

        Raises:
            InputMissing: it is missing or broken.
        """
        if name not in self._series:
            frame = self.frame if "frame" in self.__dict__ else self._read([name])
            if name not in frame:
                raise report_broken_manifest(self._folder)
            self._series[name] = frame[name]
        return self._series[name]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All columns of all images."""
        return self._read(None)

    def _read(self, names: list[str] | None) -> pd.DataFrame:
        try:
            frame: pd.DataFrame = self._file.read(columns=names).to_pandas()
        except (OSError, ValueError, NotImplementedError):
            raise report_broken_manifest(self._folder) from None
        return frame


def report_broken_manifest(folder: Path) -> InputMissing:
    """The error of a cohort whose tables cannot be read."""
    return InputMissing(
        "the manifest or the pixel index is missing or broken",
        where=folder.name,
        fix="run `medprior ingest` into it again",
    )
