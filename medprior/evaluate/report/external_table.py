"""Home against away: the rows of an external test, for a reader."""

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
    """Names of the other cohorts, in order of their keys."""
    keys = (key.split(".") for key in metrics if key.startswith("external."))
    return list(dict.fromkeys(parts[1] for parts in keys))


def list_external_rows(metrics: ReportMetrics, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(what, key at home, key away, key of the drop) of one cohort; AUC per label last."""
    lead = f"external.{name}"
    labels = [k.removeprefix(f"{lead}.") for k in metrics if k.startswith(f"{lead}.{LABEL_AUC_PREFIX}")]
    words = METRIC_NAMES | {key: f"AUC {key_to_words(key.removeprefix(LABEL_AUC_PREFIX))}" for key in labels}
    for key, word in words.items():
        if f"{lead}.drop.{key}" in metrics:
            yield word, f"{lead}.home.{key}", f"{lead}.{key}", f"{lead}.drop.{key}"


def format_external_table(metrics: ReportMetrics) -> str:
    """The table the command line prints; empty without another cohort."""
    lines = []
    for name in list_external_cohorts(metrics):
        images = metrics[f"external.{name}.data.images"]["value"]
        left = metrics[f"external.{name}.data.left_out"]["value"]
        lines.append(f"external {name}: {images:.0f} images, {left:.0f} left out as known at home")
        for word, *keys in list_external_rows(metrics, name):
            here, there, drop = (metrics[key] for key in keys)
            text = "  ".join(
                f"{head} {format_number(record['value'], signed)} [{format_interval(record, signed)}]"
                for head, record, signed in (
                    ("home", here, False), ("away", there, False), ("drop", drop, True),
                )
            )  # fmt: skip
            lines.append(f"  {word:<32} {text}")
    return "\n".join(lines)
