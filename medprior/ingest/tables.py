"""Labels and facts from a data set's tables, file names and split lists."""

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
    """What tables and names say of one image."""

    known: dict[str, str] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)


def read_tables(root: Path, described: DatasetDescriptor) -> dict[str, SourceMetadata]:
    """Facts by image id from all tables and split lists of a data set.

    Raises:
        InputMissing: a needed table or column is not there.
    """
    found: dict[str, SourceMetadata] = {}
    for table in described.tables:
        path = find_first_file(root, table.files)
        if path is None and table.required:
            raise InputMissing(
                "the data set's table is missing",
                where=f"--dataset {described.name}",
                expected=" or ".join(table.files),
                fix=f"give the folder that holds it; see {described.homepage or 'the descriptor'}",
            )
        if path is not None:
            for key, facts in merge_rows(read_table_rows(path, table), table.repeated).items():
                old = found.setdefault(key if table.about == "image" else STUDY_KEY_PREFIX + key, SourceMetadata())
                old.known |= facts.known
                old.labels |= facts.labels
    for rule in described.splits:
        for key in read_split_list(root, rule):
            found.setdefault(key, SourceMetadata()).known["split"] = rule.split
    return found


def merge_rows(rows: Iterable[tuple[str, SourceMetadata]], repeated: str) -> dict[str, SourceMetadata]:
    """One entry per key: the last facts, and the mean or the largest of known labels."""
    known: dict[str, dict[str, str]] = {}
    labels: dict[str, dict[str, list[float]]] = {}
    for key, facts in rows:
        known.setdefault(key, {}).update(facts.known)
        for name, value in facts.labels.items():
            values = labels.setdefault(key, {}).setdefault(name, [])
            values += [] if math.isnan(value) else [value]
    choose = max if repeated == "max" else fmean
    return {
        key: SourceMetadata(
            facts,
            {name: choose(values) if values else math.nan for name, values in labels.get(key, {}).items()},
        )
        for key, facts in known.items()
    }


def find_first_file(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of `names` that is a file below `root`."""
    return next((root / name for name in names if (root / name).is_file()), None)


def read_table_rows(path: Path, table: TableRule) -> Iterator[tuple[str, SourceMetadata]]:
    """Image id and facts of every row of one table."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        columns = [name for name in reader.fieldnames or [] if name]
        key = find_column(table.key, columns)
        if key is None:
            raise InputMissing("a column is missing", where=path.name, expected=" or ".join(table.key))
        facts = {name: find_column(names, columns) for name, names in table.facts.items()}
        labels = find_label_columns(table, columns, {key, *facts.values()})
        listing = find_column(table.findings.columns, columns) if table.findings else None
        for row in reader:
            result = SourceMetadata()
            for name, column in facts.items():
                text = (row.get(column or "") or "").strip()
                if text:
                    result.known[name] = table.splits.get(text, text) if name == "split" else text
            for label, label_column in labels.items():
                result.labels[label] = parse_label_value(row.get(label_column) or "", table.values)
            if table.findings and listing and (row.get(listing) or "").strip():
                parts = row[listing].split(table.findings.separator)
                said = {part.strip(" []'\"") for part in parts}
                for source, finding in table.findings.names.items():
                    result.labels[finding] = float(source in said)
            yield parse_image_key(row[key] or "", table.key_match), result


def find_column(names: tuple[str, ...], columns: list[str]) -> str | None:
    """The first of `names` among `columns`."""
    return next((name for name in names if name in columns), None)


def find_label_columns(table: TableRule, columns: list[str], used: set[str | None]) -> dict[str, str]:
    """Label -> column."""
    chosen = {name: find_column(names, columns) for name, names in table.labels.items()}
    result = {name: column for name, column in chosen.items() if column is not None}
    if table.other_labels:
        result |= {name: name for name in columns if name not in used | set(result.values())}
    return result


def parse_label_value(text: str, values: Mapping[str, float | None]) -> float:
    """A label cell as a number in [0, 1]; NaN where it is empty, negative or no number."""
    if text.strip() in values:
        mapped = values[text.strip()]
        return math.nan if mapped is None else mapped
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if 0 <= value <= 1 else math.nan


def read_split_list(root: Path, rule: OfficialSplitRule) -> Iterator[str]:
    """Image ids of a split's list file."""
    path = find_first_file(root, rule.files)
    if path is not None:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip():
                yield parse_image_key(line, None)


def parse_file_name(relative: str, described: DatasetDescriptor) -> SourceMetadata:
    """What an image's path alone says of it."""
    facts = SourceMetadata()
    for name, told in described.labels_from_name.items():
        present, absent = (search_pattern(part, relative) for part in (told.present, told.absent))
        facts.labels[name] = 1.0 if present else 0.0 if absent else math.nan
    if described.patient_from_name:
        match = search_pattern(described.patient_from_name, relative)
        if match:
            facts.known["patient_id"] = match["id"]
    if described.study_from_name:
        match = search_pattern(described.study_from_name, relative)
        if match:
            facts.known["study_id"] = match["id"]
    for view, pattern in described.views_from_name.items():
        if search_pattern(pattern, relative):
            facts.known["view"] = view
    for rule in described.splits:
        if rule.match and search_pattern(rule.match, relative):
            facts.known["split"] = rule.split
    return facts


def parse_table_sex(text: str | None) -> str | None:
    """M, F, O or None from what tables write."""
    letter = (text or "").strip()[:1].upper()
    return letter if letter in {"M", "F", "O"} else None


def parse_table_view(text: str | None) -> str | None:
    """Our word for a view, or None."""
    return VIEW_NAMES.get((text or "").strip().upper())


def parse_table_age(text: str | None) -> float | None:
    """Years, at most 90; None where it is no plausible age."""
    match = re.fullmatch(r"0*(\d+(?:\.\d+)?)\s*Y?", (text or "").strip().upper())
    years = float(match[1]) if match else math.nan
    return min(years, MAX_AGE_YEARS) if 0 <= years <= 130 else None
