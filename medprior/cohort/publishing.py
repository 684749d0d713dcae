"""Makes a finished cohort of an image journal: splits, manifest, index, summary, `config.json`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.cohort.columns import SPLITS, manifest_frame
from medprior.cohort.splits import patient_splits
from medprior.cohort.store import Place
from medprior.provenance import atomic, read_config, write_config, write_json

Quarantine = Sequence[tuple[str, str, str]]
Records = Sequence[Mapping[str, Any]]
OUTPUTS = ("manifest.parquet", "pixels/index.parquet", "summary.json", "quarantine.csv")


@dataclass(frozen=True)
class SplitRule:
    """How images without an official split are drawn; see `patient_splits`."""

    seed: int
    fractions: tuple[float, float, float]

    def record(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"seed": self.seed, "fractions": list(self.fractions)}


def publish(
    folder: Path,
    records: Records,
    fixed: Mapping[str, str | None],
    rule: SplitRule,
    quarantine: Quarantine,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write everything that a cohort consists of besides pixels and masks; `config.json` last.

    Args:
        folder: the cohort folder.
        records: journal records, sorted by image_id.
        fixed: splits by image_id that win over the images' `official`.
        rule: how the rest is drawn.
        quarantine: rows (item, code, message) of `quarantine.csv`.
        summary: entries of `summary.json` besides the counts made here.
        settings: the stage's settings.
    """
    chosen = patient_splits(
        [record["patient_id"] for record in records],
        [record["pixel_sha256"] for record in records],
        rule.fractions,
        rule.seed,
        [fixed.get(record["image_id"], record["official"]) for record in records],
    )
    names = dict(zip((record["image_id"] for record in records), chosen.tolist(), strict=True))
    frame = manifest_frame(records, names)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    write_index(folder / "pixels" / "index.parquet", records)
    write_quarantine(folder / "quarantine.csv", quarantine)
    counts = {
        "images": len(frame),
        "patients": int(frame.patient_id.nunique()),
        "splits": {name: int((frame.split == name).sum()) for name in SPLITS},
    }
    write_json(folder / "summary.json", counts | dict(summary))
    write_table(folder / "manifest.parquet", frame)
    facts = {"split_rule": rule.record()}
    write_config(folder, "ingest", settings, outputs=OUTPUTS, seed=rule.seed, facts=facts)


def kept_splits(folder: Path, rule: SplitRule) -> dict[str, str | None]:
    """Splits of a cohort that was finished before under the same rule: they stay."""
    if not (folder / "config.json").is_file():
        return {}
    if read_config(folder, "ingest").get("split_rule") != rule.record():
        return {}
    old = pd.read_parquet(folder / "manifest.parquet", columns=["image_id", "split"])
    return dict(zip(old.image_id.tolist(), old.split.tolist(), strict=True))


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a parquet file atomically."""
    with atomic(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_index(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the pixel index: image_id and place of every picture."""
    columns = ("image_id", *Place.__dataclass_fields__)
    write_table(path, pd.DataFrame([{key: r[key] for key in columns} for r in records]))


def write_quarantine(path: Path, rows: Quarantine) -> None:
    """Write `quarantine.csv`."""
    frame = pd.DataFrame(list(rows), columns=["item", "code", "message"])
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)
