"""What the row came to, as a table in the terminal; every number is read from `metrics.json`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from medprior.provenance import read_config

Metrics = dict[str, dict[str, Any]]
SUMMARY_COLUMNS = (
    ("attention.pixel_ap.left_lung", "AP left lung"),
    ("attention.pixel_ap.right_lung", "AP right lung"),
    ("attention.pixel_ap.heart", "AP heart"),
    ("attention.pixel_ap.mean", "AP mean"),
    ("classification.mauc", "mAUC"),
    ("classification.map", "mAP"),
    ("features.linear_mauc", "probe mAUC"),
    ("features.pooled_linear_mauc", "pooled probe"),
    ("features.knn_mauc", "k-NN mAUC"),
    ("segmentation.dice.mean", "Dice"),
)


def format_metric_cell(metrics: Metrics, key: str) -> str:
    """`0.912 [0.900, 0.923]`, or a dash where there is no such number."""
    record = metrics.get(key)
    if record is None or record["value"] is None or math.isnan(record["value"]):
        return "-"
    low, high = record["ci95"]
    if low is None or high is None:
        return f"{record['value']:.3f}"
    return f"{record['value']:.3f} [{low:.3f}, {high:.3f}]"


def metric_key(row: str, column: str) -> str:
    """Where `metrics.json` keeps one cell of the table."""
    quantity = column.partition(".")[2]
    return {
        "SPAN": column,
        "DINO": f"baseline.DINO.{column}",
        "static prior": f"prior.{quantity}",
        "registered prior": f"registered_prior.{quantity}",
        "random weights": f"features.random_{quantity}" if column.startswith("features") else "-",
    }[row]


def build_summary_table(metrics: Metrics) -> list[list[str]]:
    """Header and rows; columns and rows without any number are left out."""
    rows = ("SPAN", "DINO", "static prior", "registered prior", "random weights")
    cells = {(r, c): format_metric_cell(metrics, metric_key(r, c)) for r in rows for c, _ in SUMMARY_COLUMNS}
    shown = [(c, t) for c, t in SUMMARY_COLUMNS if any(cells[r, c] != "-" for r in rows)]
    table = [["test split", *(title for _, title in shown)]]
    for row in rows:
        line = [cells[row, column] for column, _ in shown]
        if any(value != "-" for value in line):
            table.append([row, *line])
    return table


def format_text_table(table: list[list[str]]) -> str:
    """Columns padded to their widest cell."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in table]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def format_teacher_entropies(folder: Path) -> str:
    """Teacher entropy of both backbones beside its value at uniform collapse."""
    parts = []
    for recipe in ("span", "dino"):
        training = read_config(folder / f"backbone_{recipe}", "pretrain")["training"]
        parts.append(
            f"{recipe.upper()} {training['teacher_entropy']:.2f} (ln K "
            f"{training['uniform_entropy']:.2f}, feature std {training['feature_std']:.2f})"
        )
    return "teacher entropy: " + ", ".join(parts)


def print_summary(folder: Path, name: str, cost: str) -> None:
    """Print table, entropies, registered version, one prediction, report and cost."""
    metrics: Metrics = json.loads((folder / "evidence" / "metrics.json").read_text())
    print("\n" + format_text_table(build_summary_table(metrics)))
    print("95 % intervals by patient bootstrap; DINO's head is its best on validation.")
    print(format_teacher_entropies(folder))
    print_registered_model(folder, name)
    print(f"report: {folder / 'evidence' / 'report.html'}")
    print(cost)


def print_registered_model(folder: Path, name: str) -> None:
    """The version behind the alias, and what it said of one radiograph."""
    from medprior.deploy.registry.register import find_alias_version

    version = find_alias_version(name, "champion")
    print(f"registered: {name} version {version} = models:/{name}@champion")
    answer = json.loads(sorted((folder / "prediction").rglob("*.json"))[0].read_text())
    print("prediction: " + json.dumps(answer)[:300])
