"""Boxes around findings: reading, validation and scaling to the unit square."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.ingest.boxes import BOX_COLUMNS, BOX_SIDES, BOXES_FILE

EDGE_SLACK = 0.01  # share of a side that a box may exceed the image by; our choice
BoxUnits = Literal["unit", "pixels"]


def load_finding_boxes(cohort: Cohort, table: Path | None = None, units: BoxUnits = "unit") -> pd.DataFrame:
    """All boxes of a cohort's images: `image_id, label, x, y, width, height`.

    Args:
        cohort: the whole cohort; its own `boxes.parquet` is read where it exists.
        table: CSV file of more boxes with the same columns; x and y are the upper left corner.
        units: of `table`: shares of the image's sides, or pixels of the image before it was resized
            (`cols` and `rows` of the manifest).

    Returns:
        Boxes on the unit square, clipped to it.

    Raises:
        InputMissing: the table, a column or a number is missing; a box has an unknown image or
            label, has no area, or is outside its image.
    """
    parts = []
    stored = cohort.path / BOXES_FILE
    if stored.is_file():
        parts.append(validate_boxes(read_box_table(stored), cohort, stored.name, "ingest again"))
    if table is not None:
        fix = "give x, y, width and height on the unit square, or set box_units=pixels"
        if units == "pixels":
            fix = "give pixels of the image before it was resized (rows, cols of the manifest)"
        parts.append(validate_boxes(scale_boxes(read_box_table(table), cohort, units), cohort, "--boxes", fix))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(BOX_COLUMNS))


def read_box_table(path: Path) -> pd.DataFrame:
    """The columns of a box table, coordinates as float64, NaN where a cell is no number."""
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except FileNotFoundError:
        raise InputMissing("no such table", where="--boxes", fix="check the path") from None
    except (OSError, ValueError, UnicodeDecodeError):
        raise InputMissing("the table of boxes cannot be read", where=path.name) from None
    missing = [name for name in BOX_COLUMNS if name not in frame]
    if missing:
        raise InputMissing(
            f"column {', '.join(missing)} is missing",
            where=path.name,
            expected=", ".join(BOX_COLUMNS),
            found=", ".join(map(str, frame.columns[:12])),
        )
    frame = frame[list(BOX_COLUMNS)].copy()
    for name in BOX_SIDES:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame.astype({"image_id": "str", "label": "str", **dict.fromkeys(BOX_SIDES, "float64")})


def scale_boxes(frame: pd.DataFrame, cohort: Cohort, units: BoxUnits) -> pd.DataFrame:
    """Boxes in pixels as shares of their image's sides; those of unknown images stay unscaled."""
    if units == "unit":
        return frame
    image_sizes = cohort.manifest.set_index("image_id")[["cols", "rows"]].reindex(frame.image_id)
    widths, heights = (image_sizes[name].fillna(1).to_numpy(np.float64) for name in ("cols", "rows"))
    frame = frame.copy()
    for name, pixels in (("x", widths), ("width", widths), ("y", heights), ("height", heights)):
        frame[name] = frame[name].to_numpy() / pixels
    return frame


def validate_boxes(frame: pd.DataFrame, cohort: Cohort, where: str, fix: str) -> pd.DataFrame:
    """Boxes clipped to the unit square; InputMissing where one does not fit the cohort or image."""
    values = frame[list(BOX_SIDES)].to_numpy(np.float64)
    low, high = values[:, :2], values[:, :2] + values[:, 2:]
    outside = ~((low >= -EDGE_SLACK) & (high <= 1 + EDGE_SLACK)).all(axis=1)
    faults = (
        ("of an image that the cohort does not have", ~frame.image_id.isin(cohort.image_ids)),
        ("of a label that the cohort does not have", ~frame.label.isin(cohort.label_names)),
        ("without four numbers", ~np.isfinite(values).all(axis=1)),
        ("without area", (values[:, 2:] <= 0).any(axis=1)),
        ("outside the image", outside),
    )
    for fault, is_faulty in faults:
        rows = np.flatnonzero(np.asarray(is_faulty))
        if len(rows):
            first = frame.iloc[int(rows[0])]
            raise InputMissing(
                f"{len(rows)} box(es) {fault}",
                where=where,
                found=f"row {int(rows[0]) + 1}: {first.label} at "
                + ", ".join(f"{first[name]:g}" for name in BOX_SIDES),
                fix="take image_id and label from the cohort's manifest" if "have" in fault else fix,
            )
    low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    result = frame.copy()
    result[list(BOX_SIDES)] = np.concatenate([low, high - low], axis=1)
    return result


def rasterise_boxes(boxes: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """The union of boxes [b, 4] (x, y, width, height) on a unit square of `size` pixels a side.

    A pixel counts when its centre is inside; a box smaller than a pixel sets the one it lies in.
    """
    mask = np.zeros((size, size), dtype=bool)
    for x, y, width, height in boxes:
        left, top = round(x * size), round(y * size)
        right, bottom = round((x + width) * size), round((y + height) * size)
        left, top = min(left, size - 1), min(top, size - 1)
        mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return mask
