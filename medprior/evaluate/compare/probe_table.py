"""Frozen features of every arm against random weights, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.markdown import SIGNS, as_markdown, cell
from medprior.evaluate.report.summary import Metrics, in_a_word, leads

PROBES = {
    "linear_mauc": "linear probe mAUC",
    "pooled_linear_mauc": "linear, pooled tokens",
    "knn_mauc": "k-NN mAUC",
}
CROSSVAL = {"crossval": "all patients", "crossval_unseen": "outside the train split"}


def probe_columns(metrics: Metrics) -> list[tuple[str, str]]:
    """(key, head) of every probe of the test split that any arm has."""
    every = [(f"features.{probe}", title) for probe, title in PROBES.items()]
    return measured(every, metrics)


def crossval_columns(metrics: Metrics) -> list[tuple[str, str]]:
    """(key, head) of every cross-validated probe that any arm has."""
    every = [
        (f"features.{kind}_{probe}", f"{title}, {words}")
        for kind, words in CROSSVAL.items()
        for probe, title in PROBES.items()
    ]
    return measured(every, metrics)


def measured(columns: Sequence[tuple[str, str]], metrics: Metrics) -> list[tuple[str, str]]:
    """The columns that any arm has a number for."""
    return [(key, head) for key, head in columns if any(name.endswith(key) for name in metrics)]


def probe_markdown(metrics: Metrics, recipes: Sequence[str]) -> str:
    """Tables of the test split and cross-validated, an arm a row.

    ▲ ▼: above or below random weights, by an interval without 0.
    """
    every = {
        "frozen features": probe_columns(metrics),
        "frozen features, cross-validated": crossval_columns(metrics),
    }
    return "\n".join(
        f"## {title}; ▲ ▼ against random weights\n\n{probe_rows(metrics, recipes, columns)}"
        for title, columns in every.items()
        if columns
    )


def probe_rows(metrics: Metrics, recipes: Sequence[str], columns: Sequence[tuple[str, str]]) -> str:
    """One table, random weights last."""
    table = [["arm", *(head for _, head in columns)]]
    for name, lead in leads(recipes).items():
        texts = [cell(metrics.get(lead + key)) + sign(metrics, lead, key) for key, _ in columns]
        if set(texts) - {"-"}:
            table.append([name, *texts])
    blind = [f"features.random_{key.partition('.')[2]}" for key, _ in columns]
    table.append(["random weights", *(cell(metrics.get(key)) for key in blind)])
    return as_markdown(table)


def sign(metrics: Metrics, lead: str, key: str) -> str:
    """Whether an arm's features stand above or below random weights."""
    record = metrics.get(f"{lead}difference.random_weights.{key}")
    return "" if record is None else SIGNS[in_a_word(record, key)]
