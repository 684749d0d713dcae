"""Publishes a cohort from its records: splits, manifest, index, summary, `config.json`."""

from __future__ import annotations

import shutil
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS, build_manifest, select_label_columns
from medprior.cohort.kept_splits import SplitRequest, read_published_config
from medprior.cohort.records import ImageRecords
from medprior.cohort.store import PixelLocation
from medprior.provenance import atomic_write, write_config, write_json

QuarantineRows = Sequence[tuple[str, str, str]]
COHORT_FILES = ("manifest.parquet", "pixels/index.parquet", "summary.json", "quarantine.csv")


def write_cohort_files(
    folder: Path,
    records: ImageRecords,
    request: SplitRequest,
    quarantine: QuarantineRows,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write all files of a cohort besides pixels and masks; `config.json` comes last.

    Args:
        folder: the cohort folder.
        records: journal records.
        request: what decides the splits.
        quarantine: rows (item, code, message) of `quarantine.csv`.
        summary: entries of `summary.json` besides the counts.
        settings: the stage's settings.
        facts: further entries of `config.json`.

    Raises:
        MedpriorError: an image would leave its published split; nothing is written.
    """
    collector = SplitAndLocationCollector()
    frame = build_manifest(collector.collect_while_iterating(records.sorted_records()))
    ids, patient_ids, hashes = (frame[name].tolist() for name in ("image_id", "patient_id", "pixel_sha256"))
    labels = frame[list(select_label_columns(frame.columns))].to_numpy(dtype=np.float64)
    splits = request.assign(ids, patient_ids, hashes, collector.official, labels)
    frame["split"] = pd.array(splits.tolist(), dtype="str")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    locations = pd.DataFrame({"image_id": frame.image_id, **collector.locations})
    write_parquet(folder / "pixels" / "index.parquet", locations)
    write_quarantine(folder / "quarantine.csv", quarantine)
    counts = {
        "images": len(frame),
        "patients": int(frame.patient_id.nunique()),
        "splits": {name: int((frame.split == name).sum()) for name in SPLITS},
    }
    write_json(folder / "summary.json", counts | dict(summary))
    write_parquet(folder / "manifest.parquet", frame)
    facts = {"split_rule": request.rule.record(), **facts}
    write_config(folder, "ingest", settings, outputs=COHORT_FILES, seed=request.rule.seed, facts=facts)


class SplitAndLocationCollector:
    """Collects what the manifest lacks from records: official splits and stored locations."""

    def __init__(self) -> None:
        self.official: list[str | None] = []
        self._locations = {name: array("q") for name in PixelLocation.__dataclass_fields__}

    def collect_while_iterating(self, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the records unchanged and collect from each."""
        for record in records:
            official = record["official"]
            self.official.append(sys.intern(official) if official else None)
            for name, column in self._locations.items():
                column.append(record[name])
            yield record

    @property
    def locations(self) -> dict[str, NDArray[np.int64]]:
        """Columns of the pixel index."""
        return {name: np.array(column, np.int64) for name, column in self._locations.items()}


def load_published_tables(folder: Path) -> dict[str, str]:
    """Data set -> digest of the tables and descriptor with which the cohort in `folder` was finished."""
    return dict(read_published_config(folder).get("tables", {}))


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a parquet file atomically."""
    with atomic_write(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_quarantine(path: Path, rows: QuarantineRows) -> None:
    """Write `quarantine.csv`."""
    frame = pd.DataFrame(list(rows), columns=["item", "code", "message"])
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False)
