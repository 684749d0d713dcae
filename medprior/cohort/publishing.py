"""Publishes a cohort from its records: splits, manifest, index, summary, `config.json`."""

from __future__ import annotations

import shutil
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import SPLITS, build_manifest
from medprior.cohort.records import ImageRecords
from medprior.cohort.splits import assign_patient_splits
from medprior.cohort.store import PixelLocation
from medprior.provenance import atomic_write, read_config, write_config, write_json

QuarantineRows = Sequence[tuple[str, str, str]]
COHORT_FILES = ("manifest.parquet", "pixels/index.parquet", "summary.json", "quarantine.csv")


@dataclass(frozen=True)
class PatientSplitRule:
    """How images without an official split are split; see `assign_patient_splits`."""

    seed: int
    fractions: tuple[float, float, float]

    def record(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"seed": self.seed, "fractions": list(self.fractions)}


def write_cohort_files(
    folder: Path,
    records: ImageRecords,
    fixed: Mapping[str, str | None],
    rule: PatientSplitRule,
    quarantine: QuarantineRows,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write all files of a cohort besides pixels and masks; `config.json` comes last.

    Args:
        folder: the cohort folder.
        records: journal records.
        fixed: splits by image_id that take precedence over the images' `official`.
        rule: how the remaining images are split.
        quarantine: rows (item, code, message) of `quarantine.csv`.
        summary: entries of `summary.json` besides the counts.
        settings: the stage's settings.
    """
    collector = SplitAndLocationCollector()
    frame = build_manifest(collector.collect_while_iterating(records.sorted_records()))
    official = zip(frame.image_id.tolist(), collector.official, strict=True)
    frame["split"] = pd.array(
        assign_patient_splits(
            frame.patient_id.tolist(),
            frame.pixel_sha256.tolist(),
            rule.fractions,
            rule.seed,
            [fixed.get(image_id, split) for image_id, split in official],
        ).tolist(),
        dtype="str",
    )
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
    facts = {"split_rule": rule.record()}
    write_config(folder, "ingest", settings, outputs=COHORT_FILES, seed=rule.seed, facts=facts)


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


def load_previous_splits(folder: Path, rule: PatientSplitRule) -> dict[str, str | None]:
    """Splits by image_id of a cohort that was finished before by the same rule."""
    if not (folder / "config.json").is_file():
        return {}
    if read_config(folder, "ingest").get("split_rule") != rule.record():
        return {}
    previous = pd.read_parquet(folder / "manifest.parquet", columns=["image_id", "split"])
    return dict(zip(previous.image_id.tolist(), previous.split.tolist(), strict=True))


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a parquet file atomically."""
    with atomic_write(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_quarantine(path: Path, rows: QuarantineRows) -> None:
    """Write `quarantine.csv`."""
    frame = pd.DataFrame(list(rows), columns=["item", "code", "message"])
    with atomic_write(path) as temporary:
        frame.to_csv(temporary, index=False)
