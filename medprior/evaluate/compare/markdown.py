"""The table of a comparison: an arm a row, with intervals, cost, and how it stands to the first."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.failed_runs import format_failures
from medprior.evaluate.report.summary import Record, ReportMetrics, difference_verdict, format_number, list_arm_prefixes

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
    """Header and rows; a column without any number is left out.

    ▲ and ▼ mark arms whose difference from the first arm has an interval without 0: ▲ better than
    it, so with a lower entropy.
    """
    arms = list_arm_prefixes(recipes)
    shown = [(k, t) for k, t in ARM_COLUMNS if any(f"{lead}{k}" in metrics for lead in arms.values())]
    plain = [(k, t) for k, t in PLAIN_COLUMNS if any(f"{lead}{k}" in metrics for lead in arms.values())]
    rows = [["arm", *(t for _, t in shown), *(t for _, t in plain), "step, of the first"]]
    for name, lead in arms.items():
        values = [format_cell(metrics.get(f"{lead}{key}")) + format_arm_sign(metrics, name, key) for key, _ in shown]
        values += [format_value(metrics.get(f"{lead}{key}")) for key, _ in plain]
        rows.append(
            [
                format_arm_title(metrics, name, lead),
                *values,
                format_cost_ratio(metrics.get(f"{lead}{STEP_COST_KEY}"), metrics.get(STEP_COST_KEY)),
            ]
        )
    blind = [
        format_cell(metrics.get(f"features.random_{name}")) if kind == "features" else "-"
        for kind, _, name in (key.partition(".") for key, _ in shown)
    ]
    if set(blind) - {"-"}:
        rows.append(["random weights", *blind, *["-"] * (len(plain) + 1)])
    for kind, words in (("prior", "static prior"), ("registered_prior", "registered prior")):
        text = format_cell(metrics.get(f"{kind}.pixel_ap.mean"))
        values = [text if key.endswith("attention.pixel_ap.mean") else "-" for key, _ in shown]
        if set(values) - {"-"}:
            rows.append([words, *values, *["-"] * (len(plain) + 1)])
    return rows


def format_arm_title(metrics: ReportMetrics, name: str, lead: str) -> str:
    """The arm, and what was lost of it: `span (1 of 3 collapsed)`."""
    words = format_failures(metrics.get(f"{lead}runs.lost"))
    done = metrics.get(f"{lead}runs.done")
    none = "; no run left" if done and not done["value"] else ""
    return f"{name} ({words}{none})" if words else name


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
    """Cost over the first arm's."""
    if not record or not first or not record["value"] or not first["value"]:
        return "-"
    return f"{record['value'] / first['value']:.2f}"


def format_arm_sign(metrics: ReportMetrics, name: str, key: str) -> str:
    """Whether the arm stands above or below the first one."""
    record = metrics.get(f"difference.{name}.{key}")
    if record is None:
        return ""
    word = difference_verdict(record, key)
    return VERDICT_SIGNS[{"better": "worse", "worse": "better"}.get(word, word)]


def format_markdown_table(table: Sequence[Sequence[str]]) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    rule = "|" + "---|" * len(table[0])
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"
