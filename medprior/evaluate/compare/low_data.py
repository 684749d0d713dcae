"""Markdown tables of a comparison with fewer labels or masks, one per measure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from medprior.evaluate.compare.markdown import format_arm_marker, format_cell, format_markdown_table
from medprior.evaluate.report.summary import Record, ReportMetrics, list_arm_prefixes

POWER = 0.8

LOW_DATA_MEASURES = {
    "linear_mauc": "linear probe, mAUC",
    "pooled_linear_mauc": "linear probe on pooled tokens, mAUC",
    "knn_mauc": "k nearest neighbours, mAUC",
    "finetuned_mauc": "fine-tuned, mAUC",
    "finetuned_dice": "fine-tuned, Dice",
}


def parse_budget_key(key: str) -> tuple[str, str]:
    """Budget and measure of a low-data key: `10pct` and `linear_mauc`; empty for another key."""
    _, separator, suffix = f".{key}".partition(".low_data.")
    budget, _, measure = suffix.partition(".")
    return (budget, measure) if separator else ("", "")


def parse_budget_amount(budget: str) -> float:
    """Size of a budget: `0p1pct` is 0.1 percent, `masks_5` is 5 masks."""
    return float(budget.removeprefix("masks_").removesuffix("pct").replace("p", "."))


def list_measured_budgets(metrics: ReportMetrics, measure: str, masks: bool | None = None) -> list[str]:
    """Budgets for which any arm has `measure`, shares first, smallest first.

    `masks` selects one axis: True for numbers of masks, False for shares.
    """
    pairs = (parse_budget_key(key) for key in metrics)
    budgets = {budget for budget, budget_measure in pairs if budget_measure == measure}
    if masks is not None:
        budgets = {budget for budget in budgets if budget.startswith("masks_") == masks}
    return sorted(budgets, key=lambda budget: (budget.startswith("masks_"), parse_budget_amount(budget)))


def format_budget(budget: str) -> str:
    """`10 %`, `1 mask` or `5 masks`."""
    if budget.endswith("pct"):
        return f"{parse_budget_amount(budget):g} %"
    return f"{parse_budget_amount(budget):g} mask" + ("" if parse_budget_amount(budget) == 1 else "s")


def format_low_data_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> str:
    """Per measure a table of arms by budgets, ▲ ▼ as in `table.md`, and one of the paired differences."""
    texts = []
    for measure, title in LOW_DATA_MEASURES.items():
        columns = list_measured_budgets(metrics, measure)
        if not columns:
            continue
        table = [["arm", *map(format_budget, columns)]]
        for name, prefix in list_arm_prefixes(recipes).items():
            keys = [f"low_data.{budget}.{measure}" for budget in columns]
            values = [format_cell(metrics.get(prefix + key)) + format_arm_marker(metrics, name, key) for key in keys]
            table.append([name, *values])
        texts.append(f"## {title}\n\n{format_markdown_table(table)}")
        texts += format_low_data_differences(metrics, recipes, measure, columns)
    return "\n".join(texts)


def format_low_data_differences(
    metrics: ReportMetrics, recipes: Sequence[str], measure: str, budgets: Sequence[str]
) -> list[str]:
    """A table of the first arm minus each other one, with what the data could have shown; empty for one arm."""
    rows = []
    for name in recipes[1:]:
        records = [metrics.get(f"difference.{name}.low_data.{budget}.{measure}") for budget in budgets]
        if any(records):
            rows.append([f"{recipes[0]} - {name}", *map(format_powered_difference, records)])
    if not rows:
        return []
    note = f"± is the smallest difference that would be found with {POWER:.0%} power at these intervals' width.\n"
    table = [["difference", *map(format_budget, budgets)], *rows]
    return [f"{format_markdown_table(table)}\n{note}"]


def format_powered_difference(record: Record | None) -> str:
    """`+0.029 [0.019, 0.040] ± 0.015`; a dash where nothing was measured."""
    cell = format_cell(record)
    if record is None or record["value"] is None:
        return cell
    sign = "+" if record["value"] >= 0 else ""
    detectable = compute_detectable_difference(*record["ci95"])
    return f"{sign}{cell}" if detectable is None else f"{sign}{cell} ± {detectable:.3f}"


def compute_detectable_difference(low: float | None, high: float | None) -> float | None:
    """The true difference that a two-sided test at 5 % finds with 80 % power, by the normal approximation.

    (z_0.975 + z_0.8) standard errors, the error being the 95 % interval's width / (2 z_0.975). None without interval.
    """
    if low is None or high is None:
        return None
    quantile = NormalDist().inv_cdf
    return (high - low) / 2 * (1 + quantile(POWER) / quantile(0.975))
