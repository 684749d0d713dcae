"""Reads labels and metadata from a data set's tables, file names and split lists."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from medprior.dicom.radiograph import MAX_AGE_YEARS
from medprior.errors import ConfigError, InputMissing
from medprior.ingest.descriptor import (
    DatasetDescriptor,
    FindingsColumn,
    TableRule,
    parse_image_key,
    search_pattern,
)
from medprior.ingest.plan import ImageSource
from medprior.ingest.table_files import (
    find_column,
    find_named_columns,
    find_nearest_names,
    open_table,
    open_text,
    require_columns,
)
from medprior.provenance import sha256_file

STUDY_KEY_PREFIX = "study\0"
LABEL_WORDS = dict.fromkeys(("", "na", "n/a", "nan", "unknown", "uncertain"), math.nan) | {
    "true": 1.0, "yes": 1.0, "positive": 1.0, "false": 0.0, "no": 0.0, "negative": 0.0,
}  # fmt: skip
VIEW_NAMES = {
    "PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LL": "LL", "RL": "RL", "L": "LATERAL",
    "AP SUPINE": "AP", "AP_SUPINE": "AP", "AP ERECT": "AP", "AP_HORIZONTAL": "AP", "AP AXIAL": "AP", "AP LLD": "AP",
    "AP RLD": "AP", "PA LLD": "PA", "PA RLD": "PA", "LAT": "LATERAL", "XTABLE LATERAL": "LATERAL",
}  # fmt: skip


@dataclass
class SourceMetadata:
    """Metadata fields and labels of one image or study from tables and names."""

    fields: dict[str, str] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)
    cell: str = field(default="", compare=False)  # the key as the table writes it
    is_excluded: bool = False  # by a row of a table: no chest radiograph


class TableJoins:
    """Counts rows of tables without image and images without row.

    Args:
        keys: ids of the input's images, and of its studies after `STUDY_KEY_PREFIX`.

    Attributes:
        counts: table -> kind of discrepancy -> number.
        digests: table or split list -> sha256 of the file.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys, self.counts = dict.fromkeys(keys), dict[str, dict[str, int]]()
        self.digests: dict[str, str] = {}
        self._unmatched: list[tuple[str, TableRule, str]] = []
        self._matched: list[TableRule] = []

    def check_rows(
        self, rows: Iterable[tuple[str, SourceMetadata]], file_name: str, table: TableRule
    ) -> Iterator[tuple[str, SourceMetadata]]:
        """Yield the rows of one table; raise ConfigError where different cells of the key name one image."""
        cells: dict[str, str] = {}
        count, example = 0, ""
        for key, row in rows:
            if key not in self._keys:
                count, example = count + 1, example or key
            elif cells.setdefault(key, row.cell) != row.cell and table.key_match is None:
                raise ConfigError(
                    "different cells of the key name one image",
                    where=file_name,
                    found=f"{cells[key]}, {row.cell}",
                    fix="set `key_match` of the table so that they differ; see data_manifests/template.yaml",
                )
            yield key, row
        is_study = table.about == "study"
        plural = "studies" if is_study else "images"
        total = sum(key.startswith(STUDY_KEY_PREFIX) == is_study for key in self._keys)
        self.counts[file_name] = {"rows_without_image": count, f"{plural}_without_row": total - len(cells)}
        if cells:
            self._matched.append(table)
        else:
            self._unmatched.append((file_name, table, example))

    def count_split_names(self, file_name: str, names: Iterable[str]) -> None:
        """Count the names of a split list that are no image of the input."""
        missing = sum(name not in self._keys for name in names)
        if missing:
            self.counts[file_name] = {"names_without_image": missing}

    def refuse_unmatched_tables(self) -> None:
        """Raise InputMissing for a table without any image, unless another with the same columns has some."""
        matched_columns = [(table.facts, table.labels, table.findings) for table in self._matched]
        for file_name, table, example in self._unmatched:
            if (table.facts, table.labels, table.findings) not in matched_columns:
                nearest = find_nearest_names(example, self._keys)
                raise InputMissing(
                    f"no row of the table matches an image ({self.counts[file_name]['rows_without_image']} rows)",
                    where=file_name,
                    expected=f"ids of images as {', '.join(nearest)}".replace(STUDY_KEY_PREFIX, ""),
                    found=example.removeprefix(STUDY_KEY_PREFIX) or "none",
                    fix="correct `key` or `key_match` of the table, or the group `id` of `images`; see"
                    " data_manifests/template.yaml",
                )


def list_join_keys(sources: Sequence[ImageSource], descriptor: DatasetDescriptor) -> Iterator[str]:
    """Ids of images, and of their studies after `STUDY_KEY_PREFIX`."""
    yield from (source.key for source in sources)
    if descriptor.study_from_name and any(table.about == "study" for table in descriptor.tables):
        studies = (search_pattern(descriptor.study_from_name, source.relative) for source in sources)
        yield from (STUDY_KEY_PREFIX + study["id"] for study in studies if study)


def read_tables(
    root: Path, descriptor: DatasetDescriptor, joins: TableJoins | None = None
) -> dict[str, SourceMetadata]:
    """Metadata by image id from all tables and split lists of a data set; `joins` checks and counts matches.

    Raises:
        InputMissing: a required table or column is missing, or a table matches no image.
        ConfigError: a label cannot be read, or different cells of a key name one image.
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
            if joins:
                joins.digests[path.relative_to(root).as_posix()] = sha256_file(path)
            prefix = STUDY_KEY_PREFIX if table.about == "study" else ""
            rows: Iterable[tuple[str, SourceMetadata]] = (
                (prefix + key, row) for key, row in read_table_rows(path, table)
            )
            rows = joins.check_rows(rows, path.name, table) if joins else rows
            for key, row in merge_rows(rows, table.repeated).items():
                entry = metadata.setdefault(key, SourceMetadata())
                entry.fields |= row.fields
                entry.labels |= row.labels
                entry.is_excluded |= row.is_excluded
    if joins:
        joins.refuse_unmatched_tables()
    for rule in descriptor.splits:
        list_file = find_first_file(root, rule.files)
        if list_file is None:
            continue
        if joins:
            joins.digests[list_file.relative_to(root).as_posix()] = sha256_file(list_file)
        keys = read_split_list(list_file)
        if joins and keys:
            joins.count_split_names(rule.files[0], keys)
        for key in keys:
            metadata.setdefault(key, SourceMetadata()).fields["split"] = rule.split
    return metadata


def merge_rows(rows: Iterable[tuple[str, SourceMetadata]], repeated: str) -> dict[str, SourceMetadata]:
    """One entry per key: the last metadata, and the mean or maximum of known labels."""
    fields: dict[str, dict[str, str]] = {}
    labels: dict[str, dict[str, list[float]]] = {}
    excluded: set[str] = set()
    for key, row in rows:
        excluded |= {key} if row.is_excluded else set()
        fields.setdefault(key, {}).update(row.fields)
        for name, value in row.labels.items():
            values = labels.setdefault(key, {}).setdefault(name, [])
            values += [] if math.isnan(value) else [value]
    choose = max if repeated == "max" else fmean
    return {
        key: SourceMetadata(
            row_fields,
            {name: choose(values) if values else math.nan for name, values in labels.get(key, {}).items()},
            is_excluded=key in excluded,
        )
        for key, row_fields in fields.items()
    }


def find_first_file(root: Path, names: tuple[str, ...]) -> Path | None:
    """The first of `names` that is a file below `root`, or None."""
    return next((root / name for name in names if (root / name).is_file()), None)


def read_table_rows(path: Path, table: TableRule) -> Iterator[tuple[str, SourceMetadata]]:
    """Image id and metadata of every row of one table."""
    with open_table(path, table.key) as reader:
        columns = [name for name in reader.fieldnames or [] if name]
        wanted = [table.key, *table.labels.values(), *([table.findings.columns] if table.findings else [])]
        wanted += [names for name, names in table.facts.items() if name == "patient_id"]
        require_columns(path.name, wanted, columns)
        key = str(find_column(table.key, columns))
        field_columns = find_named_columns({str(name): names for name, names in table.facts.items()}, columns)
        labels = [
            (label, column, f"{path.name}, column {column}")
            for label, column in find_label_columns(table, columns, {key, *field_columns.values()}).items()
        ]
        excluded = [
            (column, {cell.casefold() for cell in table.excluded[name]})
            for name, column in find_named_columns({name: (name,) for name in table.excluded}, columns).items()
        ]
        findings_column = find_column(table.findings.columns, columns) if table.findings else None
        for row in reader:
            result = SourceMetadata(cell=(row[key] or "").strip())
            if not result.cell and not any(row.get(column) for column in columns):
                continue
            for name, column in field_columns.items():
                text = (row.get(column) or "").strip()
                if text:
                    result.fields[name] = table.splits.get(text, text) if name == "split" else text
            for label, label_column, where in labels:
                try:
                    result.labels[label] = parse_label_value(row.get(label_column) or "", table.values, where)
                except ConfigError:
                    # Columns that the descriptor does not name need not be labels.
                    if label in table.labels:
                        raise
                    result.labels[label] = math.nan
            if table.findings and findings_column:
                result.labels |= parse_listed_findings(row.get(findings_column) or "", table.findings)
            result.is_excluded = any((row.get(column) or "").strip().casefold() in cells for column, cells in excluded)
            yield parse_image_key(result.cell, table.key_match), result


def parse_listed_findings(text: str, rule: FindingsColumn) -> dict[str, float]:
    """Labels from a cell that lists findings: 1 listed, 0 not listed, NaN not listed in an uninformative cell.

    An empty cell gives no labels.
    """
    if not text.strip():
        return {}
    listed = {part.strip(" []'\"").casefold() for part in text.split(rule.separator)}
    is_uninformative = any(entry.casefold() in listed for entry in rule.uninformative)
    labels: dict[str, float] = {}
    for finding, names in rule.names.items():
        for label in (names,) if isinstance(names, str) else names:
            absent = labels.get(label, math.nan if is_uninformative else 0.0)
            labels[label] = 1.0 if finding.casefold() in listed else absent
    return labels


def find_label_columns(table: TableRule, columns: list[str], used: Set[str | None]) -> dict[str, str]:
    """Label -> column."""
    result = find_named_columns(table.labels, columns)
    if table.other_labels:
        result |= {name: name for name in columns if name not in used | set(result.values())}
    return result


def parse_label_value(text: str, values: Mapping[str, float | None], where: str = "label") -> float:
    """A label cell as a number in [0, 1]; NaN where it is empty, negative or another mark of an unknown label.

    Raises:
        ConfigError: the cell holds another word, or a number above 1.
    """
    cell = text.strip()
    if cell in values or cell.casefold() in LABEL_WORDS:
        mapped = values[cell] if cell in values else LABEL_WORDS[cell.casefold()]
        return math.nan if mapped is None else mapped
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        value = math.inf
    if value > 1:
        raise ConfigError(
            "a label is no number from 0 to 1 and no known word",
            where=where,
            expected="0 to 1, true/false, yes/no, positive/negative, or empty, NA, unknown, uncertain, -1 for unknown",
            found=repr(cell[:40]),
            fix="give its number (null: unknown) in `values` of the table in the descriptor",
        )
    return value if value >= 0 else math.nan


def read_split_list(path: Path) -> list[str]:
    """Image ids in the list file of a split."""
    with open_text(path) as file:
        return [parse_image_key(line, None) for line in file.read().splitlines() if line.strip()]


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
