"""Reads a data set's published measurements of images and writes them beside the manifest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medprior.cohort.image_rows import read_rows_of_others, write_joined_rows
from medprior.errors import ConfigError
from medprior.ingest.descriptor import DatasetDescriptor, MeasurementRule, parse_image_key
from medprior.ingest.identity import Pseudonymizer
from medprior.ingest.table_files import find_column, find_named_columns, open_table, require_columns
from medprior.ingest.tables import find_first_file

MEASUREMENTS_FILE = "measurements.parquet"
MEASUREMENT_COLUMNS = ("image_id", "name", "value")


@dataclass(frozen=True)
class ImageMeasurement:
    """One number that was measured in an image, by its name in the descriptor."""

    key: str
    name: str
    value: float


def read_measurements(root: Path, descriptor: DatasetDescriptor) -> list[ImageMeasurement]:
    """All measurements of a data set's tables; empty cells are skipped.

    Raises:
        InputMissing: a table lacks a column.
        ConfigError: a cell is no number, or an image has two values of one measurement.
    """
    values: dict[tuple[str, str], float] = {}
    for rule in descriptor.measurements:
        path = find_first_file(root, rule.files)
        for row in read_measurement_rows(path, rule) if path is not None else ():
            if values.setdefault((row.key, row.name), row.value) != row.value:
                raise ConfigError(
                    "an image has two values of one measurement",
                    where=f"{rule.files[0]}, {row.name}",
                    found=f"{values[row.key, row.name]:g} and {row.value:g}",
                    fix="correct the table, or set `key_match` so that the images differ",
                )
    return [ImageMeasurement(key, name, value) for (key, name), value in values.items()]


def read_measurement_rows(path: Path, rule: MeasurementRule) -> Iterator[ImageMeasurement]:
    """The measurements of one table, row by row."""
    with open_table(path, rule.key) as reader:
        header = [name for name in reader.fieldnames or [] if name]
        require_columns(path.name, [rule.key, *rule.columns.values()], header)
        key_column = str(find_column(rule.key, header))
        columns = find_named_columns(rule.columns, header)
        for row in reader:
            key = parse_image_key(row.get(key_column) or "", rule.key_match)
            for name, column in columns.items():
                value = parse_measurement(row.get(column) or "", f"{path.name}, column {column}")
                if not math.isnan(value):
                    yield ImageMeasurement(key, name, value)


def parse_measurement(text: str, where: str) -> float:
    """A cell as a finite number; NaN where it is empty or NaN.

    Raises:
        ConfigError: the cell holds anything else.
    """
    cell = text.strip()
    try:
        value = float(cell.replace(",", ".") or "nan")
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise ConfigError(
            "a measurement is no number", where=where, expected="a number or nothing", found=repr(cell[:40])
        )
    return value


def write_measurements(
    cohort: Path,
    measurements: Sequence[ImageMeasurement],
    dataset: str,
    pseudonyms: Pseudonymizer,
    manifest: pd.DataFrame,
) -> dict[str, int]:
    """Write `measurements.parquet` of a cohort: `image_id, name, value`, in the units of the source.

    Measurements of other data sets in the cohort are kept.

    Args:
        cohort: the cohort folder.
        measurements: of `dataset`.
        dataset: short name.
        pseudonyms: of its images.
        manifest: of the cohort.

    Returns:
        Entries of `summary.json`: `measurements` of all data sets, and `measurements_without_image` of this one;
        empty without measurements.
    """
    path = cohort / MEASUREMENTS_FILE
    others = read_rows_of_others(path, MEASUREMENT_COLUMNS, manifest, dataset)
    if not measurements and others.empty:
        path.unlink(missing_ok=True)
        return {}
    image_ids = set(manifest.image_id)
    rows = [(pseudonyms.pseudonym("image", f"{dataset}\0{item.key}"), item.name, item.value) for item in measurements]
    matched = pd.DataFrame([row for row in rows if row[0] in image_ids], columns=list(MEASUREMENT_COLUMNS))
    count = write_joined_rows(path, others, matched, ("value",))
    return {"measurements": count, "measurements_without_image": len(rows) - len(matched)}
