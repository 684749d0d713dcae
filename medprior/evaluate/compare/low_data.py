"""What each arm reaches with fewer labels or masks: one table per measure, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.markdown import as_markdown, cell, sign
from medprior.evaluate.report.summary import Metrics, leads

MEASURES = {
    "linear_mauc": "linear probe, mAUC",
    "pooled_linear_mauc": "linear probe on pooled tokens, mAUC",
    "knn_mauc": "k nearest neighbours, mAUC",
    "finetuned_mauc": "fine-tuned, mAUC",
    "finetuned_dice": "fine-tuned, Dice",
}


def budget_of(key: str) -> tuple[str, str]:
    """Budget and measure of a low-data key: `10pct` and `linear_mauc`; empty for another key."""
    _, found, rest = f".{key}".partition(".low_data.")
    budget, _, measure = rest.partition(".")
    return (budget, measure) if found else ("", "")


def amount(budget: str) -> float:
    """How much a budget is: `0p1pct` is 0.1 percent, `masks_5` is 5 masks."""
    return float(budget.removeprefix("masks_").removesuffix("pct").replace("p", "."))


def ordered(metrics: Metrics, measure: str, masks: bool | None = None) -> list[str]:
    """Budgets that any arm has `measure` for, shares first, least first.

    `masks` keeps those of one axis: True for numbers of masks, False for shares.
    """
    pairs = (budget_of(key) for key in metrics)
    found = {budget for budget, own in pairs if own == measure}
    if masks is not None:
        found = {budget for budget in found if budget.startswith("masks_") == masks}
    return sorted(found, key=lambda budget: (budget.startswith("masks_"), amount(budget)))


def in_words(budget: str) -> str:
    """`10 %`, `1 mask` or `5 masks`."""
    if budget.endswith("pct"):
        return f"{amount(budget):g} %"
    return f"{amount(budget):g} mask" + ("" if amount(budget) == 1 else "s")


def low_data_markdown(metrics: Metrics, recipes: Sequence[str]) -> str:
    """A table per measure, an arm a row, a budget a column; ▲ ▼ as in `table.md`."""
    texts = []
    for measure, title in MEASURES.items():
        columns = ordered(metrics, measure)
        if not columns:
            continue
        table = [["arm", *map(in_words, columns)]]
        for name, lead in leads(recipes).items():
            keys = [f"low_data.{budget}.{measure}" for budget in columns]
            values = [cell(metrics.get(lead + key)) + sign(metrics, name, key) for key in keys]
            table.append([name, *values])
        texts.append(f"## {title}\n\n{as_markdown(table)}")
    return "\n".join(texts)
