"""Reads a data set's boxes around findings and writes them beside the manifest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medprior.cohort.image_rows import read_rows_of_others, write_joined_rows
from medprior.ingest.descriptor import BoxRule, DatasetDescriptor, parse_image_key
from medprior.ingest.identity import Pseudonymizer
from medprior.ingest.table_files import find_named_columns, open_table, require_columns
from medprior.ingest.tables import find_first_file

BOXES_FILE = "boxes.parquet"
BOX_SIDES = ("x", "y", "width", "height")
BOX_COLUMNS = ("image_id", "label", *BOX_SIDES)


@dataclass(frozen=True)
class FindingBox:
    """One box in pixels of the image file; x and y are the upper left corner."""

    key: str
    label: str
    x: float
    y: float
    width: float
    height: float


def read_finding_boxes(root: Path, descriptor: DatasetDescriptor) -> list[FindingBox]:
    """All boxes of a data set's tables.

    Raises:
        InputMissing: a table lacks a column.
    """
    boxes: list[FindingBox] = []
    for rule in descriptor.boxes:
        path = find_first_file(root, rule.files)
        if path is not None:
            boxes += read_box_rows(path, rule)
    return boxes


def read_box_rows(path: Path, rule: BoxRule) -> Iterator[FindingBox]:
    """The boxes of one table; rows without four numbers are skipped."""
    with open_table(path, rule.key) as reader:
        header = [name for name in reader.fieldnames or [] if name]
        aliases = {"key": rule.key, **{side: getattr(rule, side) for side in BOX_SIDES}}
        if rule.label:
            aliases["label"] = rule.label
        require_columns(path.name, aliases.values(), header)
        columns = find_named_columns(aliases, header)
        for row in reader:
            cell = {field: (row.get(column) or "").strip() for field, column in columns.items()}
            numbers = [parse_box_number(cell[side]) for side in BOX_SIDES]
            label = cell.get("label") or rule.finding or ""
            if all(math.isfinite(value) for value in numbers):
                key = parse_image_key(cell["key"], rule.key_match)
                yield FindingBox(key, rule.rename.get(label, label), *numbers)


def parse_box_number(text: str) -> float:
    """A cell as a number, NaN where it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def normalize_box(box: FindingBox, rows: int, cols: int, flags: str) -> tuple[float, ...] | None:
    """(x, y, width, height) as shares of the image's sides, in the orientation of the cohort.

    None where the box lies outside the image; parts beyond an edge are clipped.
    """
    left, right = box.x / cols, (box.x + box.width) / cols
    top, bottom = box.y / rows, (box.y + box.height) / rows
    if "orientation_mirrored" in flags or "orientation_rotated" in flags:
        left, right = 1 - right, 1 - left
    if "orientation_rotated" in flags:
        top, bottom = 1 - bottom, 1 - top
    left, right, top, bottom = (min(max(value, 0.0), 1.0) for value in (left, right, top, bottom))
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None


def write_finding_boxes(
    cohort: Path, boxes: Sequence[FindingBox], dataset: str, pseudonyms: Pseudonymizer, manifest: pd.DataFrame
) -> dict[str, int]:
    """Write `boxes.parquet` of a cohort: `image_id, label, x, y, width, height`, shares of sides.

    Boxes of other data sets in the cohort are kept; boxes of images outside the cohort are skipped.

    Args:
        cohort: the cohort folder.
        boxes: of `dataset`.
        dataset: short name.
        pseudonyms: of its images.
        manifest: of the cohort; source rows and cols, and flags, are used.

    Returns:
        Entries of `summary.json`: `boxes`, and `boxes_unusable` outside their image; empty
        without boxes.
    """
    path = cohort / BOXES_FILE
    other_boxes = read_rows_of_others(path, BOX_COLUMNS, manifest, dataset)
    if not boxes and other_boxes.empty:
        path.unlink(missing_ok=True)
        return {}
    sizes = manifest.set_index("image_id")[["rows", "cols", "flags"]]
    size_and_flags = {image_id: (int(r), int(c), str(f)) for image_id, r, c, f in sizes.itertuples()}
    rows, unusable = [], 0
    for box in boxes:
        image_id = pseudonyms.pseudonym("image", f"{dataset}\0{box.key}")
        if image_id in size_and_flags:
            box_shares = normalize_box(box, *size_and_flags[image_id])
            unusable += box_shares is None
            rows += [(image_id, box.label, *box_shares)] if box_shares is not None else []
    new_boxes = pd.DataFrame(rows, columns=list(BOX_COLUMNS))
    return {"boxes": write_joined_rows(path, other_boxes, new_boxes, BOX_SIDES), "boxes_unusable": unusable}
