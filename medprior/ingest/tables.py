"""Reads labels and metadata from a data set's tables, file names and split lists."""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from medprior.dicom.radiograph import MAX_AGE_YEARS
from medprior.errors import InputMissing
from medprior.ingest.descriptor import DatasetDescriptor, OfficialSplitRule, TableRule, parse_image_key, search_pattern

STUDY_KEY_PREFIX = "study\0"
VIEW_NAMES = {
    "PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LL": "LL", "RL": "RL", "L": "LATERAL",
    "AP SUPINE": "AP", "AP_SUPINE": "AP", "AP ERECT": "AP", "COSTAL": "UNKNOWN",
}  # fmt: skip


@dataclass
class SourceMetadata:
    """Metadata fields and labels of one image or study from tables and names."""

    fields: dict[str, str] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)


def read_tables(root: Path, descriptor: DatasetDescriptor) -> dict[str, SourceMetadata]:
    """Metadata by image id from all tables and split lists of a data set.

    Raises:
        InputMissing: a required table or column is missing.
    """
    metadata: dict[str, SourceMetadata] = {}
    for table in descriptor.tables:
        path = find_first_file(root, table.files)
        if path is None and table.required:
            raise InputMissing(
                "the data set's table is missing",
                where=f"--dataset {descriptor.name}",
                expected=" or ".join(table.files),
                fix=f"give the folder that holds it; see {descriptor.homepage or 'the descriptor'}",
            )
        if path is not None:
            for key, row in merge_rows(read_table_rows(path, table), table.repeated).items():
                entry = metadata.setdefault(key if table.about == "image" else STUDY_KEY_PREFIX + key, SourceMetadata())
                entry.fields |= row.fields
                entry.labels |= row.labels
    for rule in descriptor.splits:
        for key in read_split_list(root, rule):
            metadata.setdefault(key, SourceMetadata()).fields["split"] = rule.split
    return metadata


def merge_rows(rows: Iterable[tuple[str, SourceMetadata]], repeated: str) -> dict[str, SourceMetadata]:
    """One entry per key: the last metadata, and the mean or maximum of known labels."""
    fields: dict[str, dict[str, str]] = {}
    labels: dict[str, dict[str, list[float]]] = {}
    for key, row in rows:
        fields.setdefault(key, {}).update(row.fields)
        for name, value in row.labels.items():
            values = labels.setdefault(key, {}).setdefault(name, [])
            values += [] if math.isnan(value) else [value]
    choose = max if repeated == "max" else fmean
    return {
        key: SourceMetadata(
            row_fields,
            {name: choose(values) if values else math.nan for name, values in labels.get(key, {}).items()},
        )
        for key, row_fields in fields.items()
    }


def find_first_file(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of `names` that is a file below `root`, or None."""
    return next((root / name for name in names if (root / name).is_file()), None)


def read_table_rows(path: Path, table: TableRule) -> Iterator[tuple[str, SourceMetadata]]:
    """Image id and metadata of every row of one table."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        columns = [name for name in reader.fieldnames or [] if name]
        key = find_column(table.key, columns)
        if key is None:
            raise InputMissing("a column is missing", where=path.name, expected=" or ".join(table.key))
        field_columns = {name: find_column(names, columns) for name, names in table.facts.items()}
        labels = find_label_columns(table, columns, {key, *field_columns.values()})
        findings_column = find_column(table.findings.columns, columns) if table.findings else None
        for row in reader:
            result = SourceMetadata()
            for name, column in field_columns.items():
                text = (row.get(column or "") or "").strip()
                if text:
                    result.fields[name] = table.splits.get(text, text) if name == "split" else text
            for label, label_column in labels.items():
                result.labels[label] = parse_label_value(row.get(label_column) or "", table.values)
            if table.findings and findings_column and (row.get(findings_column) or "").strip():
                parts = row[findings_column].split(table.findings.separator)
                listed = {part.strip(" []'\"") for part in parts}
                for source, finding in table.findings.names.items():
                    result.labels[finding] = float(source in listed)
            yield parse_image_key(row[key] or "", table.key_match), result


def find_column(names: tuple[str, ...], columns: list[str]) -> str | None:
    """The first of `names` among `columns`, or None."""
    return next((name for name in names if name in columns), None)


def find_label_columns(table: TableRule, columns: list[str], used: set[str | None]) -> dict[str, str]:
    """Label -> column."""
    column_by_label = {name: find_column(names, columns) for name, names in table.labels.items()}
    result = {name: column for name, column in column_by_label.items() if column is not None}
    if table.other_labels:
        result |= {name: name for name in columns if name not in used | set(result.values())}
    return result


def parse_label_value(text: str, values: Mapping[str, float | None]) -> float:
    """A label cell as a number in [0, 1]; NaN where it is empty or outside [0, 1]."""
    if text.strip() in values:
        mapped = values[text.strip()]
        return math.nan if mapped is None else mapped
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if 0 <= value <= 1 else math.nan


def read_split_list(root: Path, rule: OfficialSplitRule) -> Iterator[str]:
    """Image ids in the list file of a split."""
    path = find_first_file(root, rule.files)
    if path is not None:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip():
                yield parse_image_key(line, None)


def parse_file_name(relative: str, descriptor: DatasetDescriptor) -> SourceMetadata:
    """Metadata and labels from an image's path."""
    metadata = SourceMetadata()
    for name, patterns in descriptor.labels_from_name.items():
        present, absent = (search_pattern(part, relative) for part in (patterns.present, patterns.absent))
        metadata.labels[name] = 1.0 if present else 0.0 if absent else math.nan
    if descriptor.patient_from_name:
        match = search_pattern(descriptor.patient_from_name, relative)
        if match:
            metadata.fields["patient_id"] = match["id"]
    if descriptor.study_from_name:
        match = search_pattern(descriptor.study_from_name, relative)
        if match:
            metadata.fields["study_id"] = match["id"]
    for view, pattern in descriptor.views_from_name.items():
        if search_pattern(pattern, relative):
            metadata.fields["view"] = view
    for rule in descriptor.splits:
        if rule.match and search_pattern(rule.match, relative):
            metadata.fields["split"] = rule.split
    return metadata


def parse_table_sex(text: str | None) -> str | None:
    """M, F, O or None from a table cell."""
    letter = (text or "").strip()[:1].upper()
    return letter if letter in {"M", "F", "O"} else None


def parse_table_view(text: str | None) -> str | None:
    """The manifest's name of a view, or None."""
    return VIEW_NAMES.get((text or "").strip().upper())


def parse_table_age(text: str | None) -> float | None:
    """Age in years, at most 90; None where the cell is no plausible age."""
    match = re.fullmatch(r"0*(\d+(?:\.\d+)?)\s*Y?", (text or "").strip().upper())
    years = float(match[1]) if match else math.nan
    return min(years, MAX_AGE_YEARS) if 0 <= years <= 130 else None
