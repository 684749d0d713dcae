"""Localisation figures: the maps of one image per finding, and hit rates with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medprior.evaluate.inputs import Inputs
from medprior.evaluate.localisation.finding_maps import MAP_KINDS
from medprior.evaluate.localisation.scoring import average_candidates
from medprior.evaluate.report.attention_figure import PANEL_SIZE_PX, plot_contours, plot_radiograph
from medprior.evaluate.report.interval_figure import plot_intervals
from medprior.evaluate.report.style import Figure, key_to_words, open_figure
from medprior.evaluate.sections.findings import FIXED_MAP_KINDS, LOCALISATION_PREFIX
from medprior.evaluate.study import Section

MAX_FINDINGS = 6
MAP_TITLES = {
    "head": "best head",
    "pooled": "pooled attention",
    "rollout": "roll-out",
    "class_rollout": "roll-out\nof the finding",
}


def plot_finding_figures(folder: Path, section: Section, inputs: Inputs) -> list[Figure | None]:
    """Hit rates with intervals, then the maps of each model on the same images."""
    maps = section.extra["maps"]
    if not maps:
        return []
    figures = [plot_hit_rates(folder / "localisation.png", section)]
    for name in dict.fromkeys(name for name, _ in maps):
        model_maps = {kind: maps[name, kind] for kind in MAP_KINDS if (name, kind) in maps}
        path = folder / f"localisation_{name}.png"
        figures.append(plot_finding_maps(path, name, section, model_maps))
    return figures


def plot_hit_rates(path: Path, section: Section) -> Figure | None:
    """Pointing game of every map of the primary model and of the baseline maps."""
    records = {key: estimate.record() for key, estimate in section.estimates.items()}
    priors = [key.split(".")[1] for key in records if key.startswith(f"{LOCALISATION_PREFIX}.prior")]
    kinds = [*MAP_KINDS, *FIXED_MAP_KINDS, *dict.fromkeys(priors)]
    groups = []
    for name in [*section.extra["scorer"].findings, "mean"]:
        keys = {kind: f"{LOCALISATION_PREFIX}.{kind}.pointing.{name}" for kind in kinds}
        rows = {key_to_words(kind): records[key] for kind, key in keys.items() if key in records}
        groups.append((name, rows))
    tolerance = section.extra["scorer"].settings.pointing_tolerance
    caption = (
        "Pointing game of the primary model on images positive for the finding that have a mask or "
        f"box of it: share whose map has its maximum inside or within {tolerance:.0%} of the side; "
        "line: 95 % interval (Wilson, or resampled patients). Uniform, centre and prior use no "
        "image: the baselines."
    )
    return plot_intervals(path, "Where is the finding: hit rate", "hit rate", groups, caption)


def plot_finding_maps(path: Path, name: str, section: Section, sources: dict[str, Any]) -> Figure | None:
    """Every map of one model on the image with the median energy inside, per finding.

    Args:
        path: where to write.
        name: of the model.
        section: of localisation.
        sources: kind -> (source, finding -> scores).
    """
    scorer = section.extra["scorer"]
    last_kind = list(sources)[-1]
    names = list(sources[last_kind][1])[:MAX_FINDINGS]
    rows = [find_median_row(sources[last_kind][1][finding].scores["energy"]) for finding in names]
    if not names:
        return None
    images = scorer.part.select([scorer.part.image_ids[row] for row in rows])
    squares, truth = images.squares(PANEL_SIZE_PX), scorer.truth.load_masks(images, names, PANEL_SIZE_PX)
    maps = {kind: np.concatenate(list(sources[kind][0].batches(images, PANEL_SIZE_PX))) for kind in sources}
    size = (1.5 * (len(sources) + 1) + 0.4, 1.75 * len(names) + 0.5)
    with open_figure(path, len(names), len(sources) + 1, *size) as (_, axes):
        for row, finding in enumerate(names):
            aspect, mask = float(images.aspect[row]), truth[row, [row]]
            plot_radiograph(axes[row, 0], squares[row], None, aspect)
            axes[row, 0].set_ylabel(key_to_words(finding))
            for column, kind in enumerate(sources, start=1):
                finding_scores = sources[kind][1][finding]
                heat = average_candidates(maps[kind][[row]], [finding_scores.chosen])[0, 0]
                plot_radiograph(axes[row, column], squares[row], heat, aspect)
                energy = finding_scores.scores["energy"][rows[row]]
                axes[row, column].set_xlabel(f"{energy:.0%} inside")
                if row == 0:
                    axes[row, column].set_title(MAP_TITLES[kind])
            for axis in axes[row]:
                plot_contours(axis, mask, [finding], aspect)
        axes[0, 0].set_title("radiograph")
    caption = (
        f"Maps of {name} for each finding, over the located image with the median share of the "
        "last map inside; lines are the true masks or boxes. Brightness is attention beyond each map's "
        "mean, as a share of its maximum or of three times its mean, where that is more."
    )
    return Figure(path, f"Where is the finding: {name}", caption)


def find_median_row(scores: Any) -> int:
    """The row with the median of the known `scores` [n]."""
    known_rows = np.flatnonzero(~np.isnan(scores))
    order = known_rows[np.argsort(scores[known_rows], kind="stable")]
    return int(order[len(order) // 2])
