"""Frozen features of every arm against random weights, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare_table import SIGNS, as_markdown, cell
from medprior.evaluate.comparison import verdict
from medprior.evaluate.summary import Metrics

PROBES = {
    "linear_mauc": "linear probe mAUC",
    "pooled_linear_mauc": "linear, pooled tokens",
    "knn_mauc": "k-NN mAUC",
}
CROSSVAL = {
    "crossval": "cross-validated",
    "crossval_unseen": "cross-validated, outside the train split",
}


def probe_columns(metrics: Metrics) -> list[tuple[str, str]]:
    """(key, head) of every probe that any arm has: of the test split, then cross-validated."""
    every = [(f"features.{probe}", title) for probe, title in PROBES.items()]
    every += [
        (f"features.{kind}_{probe}", f"{title}, {words}")
        for kind, words in CROSSVAL.items()
        for probe, title in PROBES.items()
    ]
    return [(key, head) for key, head in every if any(name.endswith(key) for name in metrics)]


def probe_markdown(metrics: Metrics, recipes: Sequence[str]) -> str:
    """An arm a row; ▲ ▼: above or below random weights, by an interval without 0."""
    columns = probe_columns(metrics)
    if not columns:
        return ""
    table = [["arm", *(head for _, head in columns)]]
    for number, name in enumerate(recipes):
        lead = f"baseline.{name}." if number else ""
        texts = [cell(metrics.get(lead + key)) + sign(metrics, lead, key) for key, _ in columns]
        if set(texts) - {"-"}:
            table.append([name, *texts])
    blind = [f"features.random_{key.partition('.')[2]}" for key, _ in columns]
    table.append(["random weights", *(cell(metrics.get(key)) for key in blind)])
    return f"## frozen features; ▲ ▼ against random weights\n\n{as_markdown(table)}"


def sign(metrics: Metrics, lead: str, key: str) -> str:
    """Whether an arm's features stand above or below random weights."""
    record = metrics.get(f"{lead}difference.random_weights.{key}")
    if record is None:
        return ""
    low, high = record["ci95"]
    return SIGNS[verdict(record["value"], low, high, key)]
