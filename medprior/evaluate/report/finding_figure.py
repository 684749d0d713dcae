"""Where is the finding, drawn: one located image per finding under every map, and the hit rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medprior.evaluate.inputs import Inputs
from medprior.evaluate.localisation.finding_maps import KINDS
from medprior.evaluate.localisation.scoring import combined
from medprior.evaluate.report.attention_figure import SIZE, outline, panel
from medprior.evaluate.report.interval_figure import draw_intervals
from medprior.evaluate.report.style import Figure, drawing, spoken
from medprior.evaluate.sections.findings import FIXED, PREFIX
from medprior.evaluate.study import Section

MOST_FINDINGS = 6
WORDS = {
    "head": "best head",
    "pooled": "pooled attention",
    "rollout": "roll-out",
    "class_rollout": "roll-out\nof the finding",
}


def finding_figures(folder: Path, section: Section, inputs: Inputs) -> list[Figure | None]:
    """Hit rates with intervals, then the maps of each model on the same images."""
    found = section.extra["found"]
    if not found:
        return []
    figures = [draw_hits(folder / "localisation.png", section)]
    for name in dict.fromkeys(name for name, _ in found):
        own = {kind: found[name, kind] for kind in KINDS if (name, kind) in found}
        path = folder / f"localisation_{name}.png"
        figures.append(draw_finding_maps(path, name, section, own))
    return figures


def draw_hits(path: Path, section: Section) -> Figure | None:
    """The pointing game of every map of the primary model and of the maps that see no image."""
    records = {key: estimate.record() for key, estimate in section.estimates.items()}
    priors = [key.split(".")[1] for key in records if key.startswith(f"{PREFIX}.prior")]
    kinds = [*KINDS, *FIXED, *dict.fromkeys(priors)]
    groups = []
    for name in [*section.extra["hunt"].findings, "mean"]:
        keys = {kind: f"{PREFIX}.{kind}.pointing.{name}" for kind in kinds}
        rows = {spoken(kind): records[key] for kind, key in keys.items() if key in records}
        groups.append((name, rows))
    tolerance = section.extra["hunt"].settings.pointing_tolerance
    caption = (
        "Pointing game of the primary model on images positive for the finding that have a mask or "
        f"box of it: share whose map has its maximum inside or within {tolerance:.0%} of the side; "
        "line: 95 % interval (Wilson, or resampled patients). Uniform, centre and prior see no "
        "finding: what a map must beat."
    )
    return draw_intervals(path, "Where is the finding: hit rate", "hit rate", groups, caption)


def draw_finding_maps(
    path: Path, name: str, section: Section, found: dict[str, Any]
) -> Figure | None:
    """The image with the median energy inside, for each finding, under every map of one model.

    Args:
        path: where to write.
        name: of the model.
        section: of localisation.
        found: kind -> (source, finding -> scores).
    """
    hunt = section.extra["hunt"]
    last = list(found)[-1]
    names = list(found[last][1])[:MOST_FINDINGS]
    rows = [middle(found[last][1][finding].scores["energy"]) for finding in names]
    if not names:
        return None
    some = hunt.part.select([hunt.part.image_ids[row] for row in rows])
    squares, truth = some.squares(SIZE), hunt.truth.masks(some, names, SIZE)
    maps = {kind: np.concatenate(list(found[kind][0].batches(some, SIZE))) for kind in found}
    size = (1.5 * (len(found) + 1) + 0.4, 1.75 * len(names) + 0.5)
    with drawing(path, len(names), len(found) + 1, *size) as (_, axes):
        for row, finding in enumerate(names):
            aspect, mask = float(some.aspect[row]), truth[row, [row]]
            panel(axes[row, 0], squares[row], None, aspect)
            axes[row, 0].set_ylabel(spoken(finding))
            for column, kind in enumerate(found, start=1):
                one = found[kind][1][finding]
                heat = combined(maps[kind][[row]], [one.chosen])[0, 0]
                panel(axes[row, column], squares[row], heat, aspect)
                inside = one.scores["energy"][rows[row]]
                axes[row, column].set_xlabel(f"{inside:.0%} inside")
                if row == 0:
                    axes[row, column].set_title(WORDS[kind])
            for axis in axes[row]:
                outline(axis, mask, [finding], aspect)
        axes[0, 0].set_title("radiograph")
    caption = (
        f"Maps of {name} for each finding, over the located image with the median share of the "
        "last map inside; lines are the true masks or boxes. Brightness is a share of each map's "
        "maximum, or of three times its mean where that is more."
    )
    return Figure(path, f"Where is the finding: {name}", caption)


def middle(scores: Any) -> int:
    """The row with the median of the known `scores` [n]."""
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.argsort(scores[known], kind="stable")]
    return int(order[len(order) // 2])
