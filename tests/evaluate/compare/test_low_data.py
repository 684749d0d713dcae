"""Budgets of labels in keys, and their table."""

from medprior.evaluate.compare.low_data import (
    format_budget,
    format_low_data_tables,
    list_measured_budgets,
    parse_budget_key,
)
from tests.evaluate.records import record


def test_the_table_has_a_row_per_arm_and_a_column_per_budget():
    metrics = {
        "low_data.100pct.finetuned_dice": record(0.9, 0.8, 0.95),
        "low_data.masks_5.finetuned_dice": record(0.7, 0.6, 0.8),
        "low_data.masks_1.finetuned_dice": record(0.5, 0.4, 0.6),
        "baseline.scratch.low_data.masks_1.finetuned_dice": record(0.2, 0.1, 0.3),
        "difference.scratch.low_data.masks_1.finetuned_dice": record(0.3, 0.2, 0.4),
        "features.linear_mauc": record(0.5, 0.4, 0.6),
    }
    assert parse_budget_key("baseline.a.low_data.0p1pct.knn_mauc") == ("0p1pct", "knn_mauc")
    assert parse_budget_key("features.linear_mauc") == ("", "")
    assert list_measured_budgets(metrics, "finetuned_dice") == ["100pct", "masks_1", "masks_5"]
    assert [format_budget(b) for b in ("0p1pct", "masks_1", "masks_5")] == ["0.1 %", "1 mask", "5 masks"]
    lines = format_low_data_tables(metrics, ["span", "scratch"]).splitlines()
    assert lines[0] == "## fine-tuned, Dice"
    assert lines[2] == "| arm | 100 % | 1 mask | 5 masks |"
    assert lines[5] == "| scratch | - | 0.200 [0.100, 0.300] ▼ | - |"


def test_budgets_are_in_order_of_size_on_each_axis():
    keys = ("100pct", "masks_20", "2pct", "0p5pct", "masks_3", "10pct")
    metrics = {f"low_data.{budget}.finetuned_dice": record(0.5) for budget in keys}
    metrics["baseline.a.low_data.50pct.finetuned_dice"] = record(0.5)
    metrics["low_data.1pct.finetuned_mauc"] = record(0.5)
    shares = ["0p5pct", "2pct", "10pct", "50pct", "100pct"]
    assert list_measured_budgets(metrics, "finetuned_dice") == [*shares, "masks_3", "masks_20"]
    assert list_measured_budgets(metrics, "finetuned_dice", masks=False) == shares
    assert list_measured_budgets(metrics, "finetuned_dice", masks=True) == ["masks_3", "masks_20"]
    assert format_low_data_tables({}, ["a"]) == ""
