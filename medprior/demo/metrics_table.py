"""Summary table of a demonstration in the terminal; every number comes from `metrics.json`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from medprior.provenance import read_config

Metrics = dict[str, dict[str, Any]]
DEPLOYED_PREFIX = "deployed."
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


def metric_key(model: str, column: str) -> str:
    """The key in `metrics.json` of one cell of the table."""
    quantity = column.partition(".")[2]
    return {
        "deployed model": f"{DEPLOYED_PREFIX}{column}",
        "SPAN": column,
        "DINO": f"baseline.DINO.{column}",
        "static prior": f"prior.{quantity}",
        "registered prior": f"registered_prior.{quantity}",
        "random weights": f"features.random_{quantity}" if column.startswith("features") else "-",
    }[model]


def build_summary_table(metrics: Metrics) -> list[list[str]]:
    """Header and rows of the table, without empty columns and rows."""
    models = ("deployed model", "SPAN", "DINO", "static prior", "registered prior", "random weights")
    cells = {(m, c): format_metric_cell(metrics, metric_key(m, c)) for m in models for c, _ in SUMMARY_COLUMNS}
    columns = [(c, title) for c, title in SUMMARY_COLUMNS if any(cells[m, c] != "-" for m in models)]
    table = [["test split", *(title for _, title in columns)]]
    for model in models:
        line = [cells[model, column] for column, _ in columns]
        if any(value != "-" for value in line):
            table.append([model, *line])
    return table


def format_text_table(table: list[list[str]]) -> str:
    """The table as text, columns padded to their widest cell."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in table]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def format_teacher_entropies(folder: Path) -> str:
    """Teacher entropy of both backbones beside its value at uniform collapse, ln K."""
    entropies = []
    for recipe in ("span", "dino"):
        training = read_config(folder / f"backbone_{recipe}", "pretrain")["training"]
        entropies.append(
            f"{recipe.upper()} {training['teacher_entropy']:.2f} (ln K "
            f"{training['uniform_entropy']:.2f}, feature std {training['feature_std']:.2f})"
        )
    return "teacher entropy: " + ", ".join(entropies)


def read_demo_metrics(folder: Path) -> Metrics:
    """Metrics of SPAN and its baselines, and those of the deployed model under `deployed.`."""
    metrics: Metrics = json.loads((folder / "evidence" / "metrics.json").read_text())
    deployed: Metrics = json.loads((folder / "evidence_findings" / "metrics.json").read_text())
    return metrics | {f"{DEPLOYED_PREFIX}{key}": record for key, record in deployed.items()}


def print_summary(folder: Path, name: str, alias: str, cost: str) -> None:
    """Print table, entropies, registered version, one prediction, reports, real radiograph and cost."""
    print("\n" + format_text_table(build_summary_table(read_demo_metrics(folder))))
    print("95 % intervals by patient bootstrap; DINO's head is its best on validation.")
    print(format_teacher_entropies(folder))
    print_registered_model(folder, name, alias)
    print(f"reports: {folder / 'evidence' / 'report.html'}, {folder / 'evidence_findings' / 'report.html'}")
    for overlay in sorted((folder / "real_prediction").glob("*_overlay.png")):
        print(f"a real radiograph, lungs and heart outlined by the anatomy model: {overlay}")
    print(cost)


def print_registered_model(folder: Path, name: str, alias: str) -> None:
    """Print the version behind the alias and its prediction for one radiograph."""
    from medprior.deploy.registry.register import find_alias_version

    version = find_alias_version(name, alias)
    print(f"registered: {name} version {version} = models:/{name}@{alias}")
    prediction = json.loads(sorted((folder / "prediction").rglob("*.json"))[0].read_text())
    print("prediction: " + json.dumps(prediction)[:300])
