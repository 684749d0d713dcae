"""Writes `cohort.html`, the report of a cohort: counts, metadata, splits, labels, masks, refused files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from medprior.cohort.columns import MASK_PREFIX, SPLITS, select_label_columns
from medprior.provenance import atomic_write

REPORT_FILE = "cohort.html"
EXAMPLE_COUNT = 5
AGE_EDGES_YEARS = (0, 1, 5, 18, 30, 40, 50, 60, 70, 80, np.inf)
SPACING_EDGES_MM = (0, 0.12, 0.16, 0.2, 0.3, 0.5, 1, np.inf)
RefusedFile = tuple[str, str, str]


@dataclass(frozen=True)
class CountTable:
    """One table of the report: title, heads, and rows of cells, the first of which names the row.

    Attributes:
        bars: share of each row in [0, 1], drawn beside it; empty for none.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bars: tuple[float, ...] = ()


def write_ingest_report(path: Path, manifest: pd.DataFrame, refused: Sequence[RefusedFile]) -> Path:
    """Write the report of a published cohort; it names no source file and no patient.

    Args:
        path: the file, in the cohort's folder beside `contact_sheet.png`.
        manifest: of the cohort, with its splits.
        refused: (item, code, message) of each refused file, as in `quarantine.csv`.
    """
    from jinja2 import Environment, StrictUndefined

    source = resources.files("medprior.ingest.report").joinpath("ingest_report.html").read_text("utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)
    datasets = sorted({str(name) for name in manifest.dataset} - {""})
    page = template.render(
        title=f"Cohort of {', '.join(datasets) or 'radiographs'}",
        images=len(manifest),
        patients=manifest.patient_id.nunique(),
        refused_count=len(refused),
        tables=build_ingest_tables(manifest, refused),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def build_ingest_tables(manifest: pd.DataFrame, refused: Sequence[RefusedFile]) -> list[CountTable]:
    """All tables that are not empty, in reading order."""
    polarity = manifest.polarity_inverted.map({True: "inverted on reading", False: "as stored"})
    tables = [
        count_splits(manifest),
        describe_refused_files(refused),
        count_column("Views", manifest["view"]),
        count_column("Black and white", polarity),
        count_bins("Age in years", manifest.age, AGE_EDGES_YEARS),
        count_column("Sex", manifest.sex),
        count_bins("Pixel spacing in mm", manifest.spacing_mm, SPACING_EDGES_MM),
        count_column("What the spacing measures", manifest.spacing_kind),
        count_column("Rows of the pictures", manifest.rows),
        count_column("Data sets", manifest.dataset),
        count_flags(manifest["flags"]),
        count_labels(manifest),
        count_masks(manifest),
    ]
    return [table for table in tables if table.rows]


def count_splits(manifest: pd.DataFrame) -> CountTable:
    """Images and patients of each split."""
    parts = {name: manifest[manifest.split == name] for name in SPLITS}
    rows = [(name, f"{len(part):,}", f"{part.patient_id.nunique():,}") for name, part in parts.items()]
    return CountTable("Splits, by patient", ("split", "images", "patients"), tuple(rows))


def describe_refused_files(refused: Sequence[RefusedFile]) -> CountTable:
    """Reject codes with their number, first message, and items of `quarantine.csv` as examples."""
    table = pd.DataFrame(refused, columns=["item", "code", "message"])
    rows = [
        (str(code), f"{len(part):,}", str(part.message.iloc[0]), ", ".join(part["item"].head(EXAMPLE_COUNT)))
        for code, part in sorted(table.groupby("code"), key=lambda group: -len(group[1]))
    ]
    return CountTable("Refused files", ("code", "files", "reason (of the first)", "examples"), tuple(rows))


def count_column(title: str, column: pd.Series) -> CountTable:
    """Images with each value of a column, the most frequent first, at most twelve."""
    counts = column.astype(object).where(column.notna(), "not known").replace("", "not known").value_counts()
    rows = [(str(value), f"{count:,}") for value, count in counts.head(12).items()]
    if len(counts) > 12:
        rows.append((f"{len(counts) - 12} other values", f"{int(counts.iloc[12:].sum()):,}"))
    return build_count_table(title, rows)


def count_bins(title: str, column: pd.Series, edges: Sequence[float]) -> CountTable:
    """Images with a number in each interval [low, high), and without a number."""
    values = column.dropna().to_numpy(dtype=np.float64)
    if not len(values):
        return CountTable(title, (), ())
    rows = [
        (f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more", f"{count:,}")
        for low, high in pairwise(edges)
        if (count := int(((values >= low) & (values < high)).sum()))
    ]
    unknown = int(column.isna().sum())
    return build_count_table(title, rows + ([("not known", f"{unknown:,}")] if unknown else []))


def count_flags(column: pd.Series) -> CountTable:
    """Images with each flag."""
    flags = pd.Series([flag for cell in column for flag in str(cell).split("|") if flag], dtype=object)
    return build_count_table("Flags", [(str(name), f"{count:,}") for name, count in flags.value_counts().items()])


def count_labels(manifest: pd.DataFrame) -> CountTable:
    """Present of known images of each label, in all and in each split."""
    names = select_label_columns(manifest.columns)
    parts = [manifest, *(manifest[manifest.split == split] for split in SPLITS)]
    rows = [
        (name, *(f"{int((part[name] >= 0.5).sum()):,} of {int(part[name].notna().sum()):,}" for part in parts))
        for name in names
    ]
    return CountTable("Labels, present of known", ("label", "all", *SPLITS), tuple(rows))


def count_masks(manifest: pd.DataFrame) -> CountTable:
    """Images with a mask of each structure, in all and in each split."""
    columns = [name for name in manifest.columns if name.startswith(MASK_PREFIX)]
    parts = [manifest, *(manifest[manifest.split == split] for split in SPLITS)]
    rows = [
        (name.removeprefix(MASK_PREFIX), *(f"{int(part[name].notna().sum()):,}" for part in parts)) for name in columns
    ]
    return CountTable("Masks", ("structure", "all", *SPLITS), tuple(rows))


def build_count_table(title: str, rows: Iterable[tuple[str, str]]) -> CountTable:
    """A table of names and numbers of images, with bars."""
    rows = tuple(rows)
    numbers = [int(count.replace(",", "")) for _, count in rows]
    bars = tuple(number / max(numbers) for number in numbers)
    return CountTable(title, ("", "images"), rows, bars)
