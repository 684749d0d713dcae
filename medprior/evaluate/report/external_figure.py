"""External test figure: the primary results at home and away, with intervals."""

from __future__ import annotations

from pathlib import Path

from medprior.evaluate.report.external_table import list_external_cohorts, list_external_rows
from medprior.evaluate.report.interval_figure import plot_intervals
from medprior.evaluate.report.style import Figure
from medprior.evaluate.study import Section


def plot_external_figures(folder: Path, sections: dict[str, Section]) -> list[Figure | None]:
    """One figure per external cohort."""
    estimates = {
        key: estimate
        for section in sections.values()
        for key, estimate in section.estimates.items()
        if key.startswith("external.")
    }
    records = {key: estimate.record() for key, estimate in estimates.items()}
    figures = []
    for name in list_external_cohorts(records):
        groups = [
            (metric_name, {"home": records[home], name: records[away]})
            for metric_name, home, away, _ in list_external_rows(records, name)
        ]
        left_out = int(records[f"external.{name}.data.left_out"]["value"])
        caption = (
            f"The primary results at home and on the cohort {name}, on the labels and structures "
            "that both have; line: 95 % interval over resampled patients of each cohort. Nothing "
            "was trained, calibrated or chosen there. Images left out because their patient or "
            f"pixels are in the home cohort too: {left_out}."
        )
        path = folder / f"external_{name}.png"
        figures.append(plot_intervals(path, f"External test: {name}", "value", groups, caption))
    return figures
