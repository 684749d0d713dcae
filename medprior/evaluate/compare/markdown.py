"""Markdown table of a comparison: arms as rows, with intervals, verdicts and cost."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.failed_runs import format_failures
from medprior.evaluate.report.summary import (
    Record,
    ReportMetrics,
    difference_verdict,
    format_number,
    invert_verdict,
    list_arm_prefixes,
)

ARM_COLUMNS = (
    ("attention.pixel_ap.mean", "attention pixel-AP"),
    ("features.knn_mauc", "k-NN mAUC"),
    ("features.linear_mauc", "linear mAUC"),
    ("features.pooled_linear_mauc", "pooled linear mAUC"),
    ("classification.mauc", "fine-tuned mAUC"),
    ("segmentation.dice.mean", "fine-tuned Dice"),
    ("attention.spatial_entropy", "spatial entropy"),
    ("finetuned_attention.pixel_ap.mean", "fine-tuned attention pixel-AP"),
    ("finetuned_attention.spatial_entropy", "fine-tuned spatial entropy"),
)
PLAIN_COLUMNS = (
    ("features.teacher_entropy", "teacher entropy"),
    ("features.loca_accuracy", "position accuracy"),
)
STEP_COST_KEY = "cost.step_seconds"
VERDICT_SIGNS = {"better": " ▲", "worse": " ▼", "no difference shown": "", "not measured": ""}


def build_arm_table(metrics: ReportMetrics, recipes: Sequence[str]) -> list[list[str]]:
    """Header and rows; columns without any number are left out.

    ▲ and ▼ mark arms better and worse than the first, by an interval of the difference without 0
    (▲ means a lower entropy).
    """
    arms = list_arm_prefixes(recipes)
    columns, plain_columns = (
        [(key, heading) for key, heading in group if any(prefix + key in metrics for prefix in arms.values())]
        for group in (ARM_COLUMNS, PLAIN_COLUMNS)
    )
    rows = [["arm", *(heading for _, heading in [*columns, *plain_columns]), "step, of the first"]]
    for name, prefix in arms.items():
        values = [format_cell(metrics.get(prefix + key)) + format_arm_marker(metrics, name, key) for key, _ in columns]
        values += [format_value(metrics.get(prefix + key)) for key, _ in plain_columns]
        cost = format_cost_ratio(metrics.get(prefix + STEP_COST_KEY), metrics.get(STEP_COST_KEY))
        rows.append([format_arm_title(metrics, name, prefix), *values, cost])
    random_cells = [
        format_cell(metrics.get(f"features.random_{name}")) if kind == "features" else "-"
        for kind, _, name in (key.partition(".") for key, _ in columns)
    ]
    if set(random_cells) - {"-"}:
        rows.append(["random weights", *random_cells, *["-"] * (len(plain_columns) + 1)])
    for kind, title in (("prior", "static prior"), ("registered_prior", "registered prior")):
        text = format_cell(metrics.get(f"{kind}.pixel_ap.mean"))
        values = [text if key.endswith("attention.pixel_ap.mean") else "-" for key, _ in columns]
        if set(values) - {"-"}:
            rows.append([title, *values, *["-"] * (len(plain_columns) + 1)])
    return rows


def format_arm_title(metrics: ReportMetrics, name: str, prefix: str) -> str:
    """The arm with its failed runs: `span (1 of 3 collapsed)`."""
    failures = format_failures(metrics.get(f"{prefix}runs.lost"))
    done = metrics.get(f"{prefix}runs.done")
    suffix = "; no run finished" if done and not done["value"] else ""
    return f"{name} ({failures}{suffix})" if failures else name


def format_cell(record: Record | None) -> str:
    """`0.912 [0.900, 0.923]`, or a dash."""
    if record is None or record["value"] is None:
        return "-"
    low, high = record["ci95"]
    if low is None or high is None:
        return format_number(record["value"])
    return f"{format_number(record['value'])} [{format_number(low)}, {format_number(high)}]"


def format_value(record: Record | None) -> str:
    """The value alone, or a dash."""
    return "-" if record is None or record["value"] is None else f"{record['value']:.3g}"


def format_cost_ratio(record: Record | None, first: Record | None) -> str:
    """Ratio of a cost to that of the first arm."""
    if not record or not first or not record["value"] or not first["value"]:
        return "-"
    return f"{record['value'] / first['value']:.2f}"


def format_arm_marker(metrics: ReportMetrics, name: str, key: str) -> str:
    """▲ if the arm is better than the first one, ▼ if worse, else ""."""
    record = metrics.get(f"difference.{name}.{key}")
    if record is None:
        return ""
    return VERDICT_SIGNS[invert_verdict(difference_verdict(record, key))]


def format_markdown_table(table: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    rule = "|" + "---|" * len(table[0])
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"
