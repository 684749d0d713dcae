"""Tables beside the manifest with rows about images, such as boxes and measurements, over several data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medprior.provenance import atomic_write


def read_rows_of_others(path: Path, columns: Sequence[str], manifest: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The stored rows about images of other data sets than `dataset`; none where there is no table."""
    stored = pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=list(columns))
    return stored[stored.image_id.isin(manifest.image_id[manifest.dataset != dataset])]


def write_joined_rows(path: Path, others: pd.DataFrame, rows: pd.DataFrame, numbers: Sequence[str]) -> int:
    """Write the rows of other data sets and those of this one, atomically; the count of all.

    Args:
        path: of the table.
        others: from `read_rows_of_others`.
        rows: of this data set, with the same columns.
        numbers: columns of float64.
    """
    table = pd.concat([part for part in (others, rows) if len(part)] or [rows], ignore_index=True)
    with atomic_write(path) as temporary:
        table.astype(dict.fromkeys(numbers, "float64")).to_parquet(temporary, index=False)
    return len(table)
