"""Markdown tables of the probes of every arm, with verdicts against random weights."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.markdown import VERDICT_SIGNS, format_cell, format_markdown_table
from medprior.evaluate.report.summary import ReportMetrics, difference_verdict, list_arm_prefixes

PROBE_TITLES = {
    "linear_mauc": "linear probe mAUC",
    "pooled_linear_mauc": "linear, pooled tokens",
    "knn_mauc": "k-NN mAUC",
}
CROSSVAL_TITLES = {"crossval": "all patients", "crossval_unseen": "outside the train split"}


def list_probe_columns(metrics: ReportMetrics) -> list[tuple[str, str]]:
    """(key, head) of every probe of the test split that any arm has."""
    columns = [(f"features.{probe}", title) for probe, title in PROBE_TITLES.items()]
    return select_measured_columns(columns, metrics)


def list_crossval_columns(metrics: ReportMetrics) -> list[tuple[str, str]]:
    """(key, head) of every cross-validated probe that any arm has."""
    columns = [
        (f"features.{kind}_{probe}", f"{title}, {patients}")
        for kind, patients in CROSSVAL_TITLES.items()
        for probe, title in PROBE_TITLES.items()
    ]
    return select_measured_columns(columns, metrics)


def select_measured_columns(columns: Sequence[tuple[str, str]], metrics: ReportMetrics) -> list[tuple[str, str]]:
    """The columns for which any arm has a number."""
    return [(key, head) for key, head in columns if any(name.endswith(key) for name in metrics)]


def format_probe_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> str:
    """Tables of the test split and of cross-validation, with arms as rows.

    ▲ ▼: better or worse than random weights, by an interval of the difference without 0.
    """
    column_sets = {
        "frozen features": list_probe_columns(metrics),
        "frozen features, cross-validated": list_crossval_columns(metrics),
    }
    return "\n".join(
        f"## {title}; ▲ ▼ against random weights\n\n{format_probe_rows(metrics, recipes, columns)}"
        for title, columns in column_sets.items()
        if columns
    )


def format_probe_rows(metrics: ReportMetrics, recipes: Sequence[str], columns: Sequence[tuple[str, str]]) -> str:
    """One table, random weights last."""
    table = [["arm", *(head for _, head in columns)]]
    for name, prefix in list_arm_prefixes(recipes).items():
        texts = [
            format_cell(metrics.get(prefix + key)) + format_above_random_marker(metrics, prefix, key)
            for key, _ in columns
        ]
        if set(texts) - {"-"}:
            table.append([name, *texts])
    random_keys = [f"features.random_{key.partition('.')[2]}" for key, _ in columns]
    table.append(["random weights", *(format_cell(metrics.get(key)) for key in random_keys)])
    return format_markdown_table(table)


def format_above_random_marker(metrics: ReportMetrics, prefix: str, key: str) -> str:
    """▲ if an arm's features are better than random weights, ▼ if worse, else ""."""
    record = metrics.get(f"{prefix}difference.random_weights.{key}")
    return "" if record is None else VERDICT_SIGNS[difference_verdict(record, key)]
