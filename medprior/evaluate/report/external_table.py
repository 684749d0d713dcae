"""Rows of an external test: metrics at home, away and their drop."""

from __future__ import annotations

from collections.abc import Iterator

from medprior.evaluate.report.style import key_to_words
from medprior.evaluate.report.summary import ReportMetrics, format_interval, format_number

METRIC_NAMES = {
    "classification.mauc": "mAUC",
    "classification.map": "mAP",
    "classification.ece": "calibration error",
    "classification.sensitivity": "sensitivity",
    "classification.specificity": "specificity",
    "segmentation.dice.mean": "Dice",
    "features.linear_mauc": "linear-probe mAUC",
    "features.pooled_linear_mauc": "linear-probe mAUC, pooled tokens",
    "features.knn_mauc": "k-NN mAUC",
}
LABEL_AUC_PREFIX = "classification.auc."


def list_external_cohorts(metrics: ReportMetrics) -> list[str]:
    """Names of the external cohorts, in order of their keys."""
    keys = (key.split(".") for key in metrics if key.startswith("external."))
    return list(dict.fromkeys(parts[1] for parts in keys))


def list_external_rows(metrics: ReportMetrics, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(metric name, key at home, key away, key of the drop) of one cohort; AUC per label last."""
    prefix = f"external.{name}"
    labels = [k.removeprefix(f"{prefix}.") for k in metrics if k.startswith(f"{prefix}.{LABEL_AUC_PREFIX}")]
    names = METRIC_NAMES | {key: f"AUC {key_to_words(key.removeprefix(LABEL_AUC_PREFIX))}" for key in labels}
    for key, metric_name in names.items():
        if f"{prefix}.drop.{key}" in metrics:
            yield metric_name, f"{prefix}.home.{key}", f"{prefix}.{key}", f"{prefix}.drop.{key}"


def format_external_table(metrics: ReportMetrics) -> str:
    """The table that the command line prints; empty without an external cohort."""
    lines = []
    for name in list_external_cohorts(metrics):
        images = metrics[f"external.{name}.data.images"]["value"]
        left_out = metrics[f"external.{name}.data.left_out"]["value"]
        lines.append(f"external {name}: {images:.0f} images, {left_out:.0f} left out as known at home")
        for metric_name, *keys in list_external_rows(metrics, name):
            home, away, drop = (metrics[key] for key in keys)
            text = "  ".join(
                f"{head} {format_number(record['value'], signed)} [{format_interval(record, signed)}]"
                for head, record, signed in (
                    ("home", home, False), ("away", away, False), ("drop", drop, True),
                )
            )  # fmt: skip
            lines.append(f"  {metric_name:<32} {text}")
    return "\n".join(lines)
