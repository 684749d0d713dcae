"""Budgets of labels in keys, and their table."""

import pytest

from medprior.evaluate.compare.low_data import (
    compute_detectable_difference,
    format_budget,
    format_low_data_tables,
    format_powered_difference,
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


def test_differences_stand_beside_what_could_have_been_found():
    key = "low_data.1pct.linear_mauc"
    metrics = {key: record(0.7, 0.6, 0.8), f"baseline.dino.{key}": record(0.67, 0.6, 0.7)}
    metrics[f"difference.dino.{key}"] = record(0.03, 0.02, 0.04)
    text = format_low_data_tables(metrics, ["span", "dino", "unmeasured"])
    assert "| span - dino | +0.030 [0.020, 0.040] ± 0.014 |" in text
    assert "unmeasured |" in text
    assert "span - unmeasured" not in text
    assert "80% power" in text
    assert format_powered_difference(record(-0.03, -0.05, -0.01)) == "−0.030 [−0.050, −0.010] ± 0.029"
    assert "difference" not in format_low_data_tables({key: record(0.7, 0.6, 0.8)}, ["span"])


def test_the_detectable_difference_is_that_of_a_normal_test():
    """Standard error 1: an interval of 2 x 1.96, and 1.96 + 0.84 are found four times in five."""
    assert compute_detectable_difference(-1.959964, 1.959964) == pytest.approx(2.801585, abs=1e-5)
    assert compute_detectable_difference(None, 1.0) is None
    assert compute_detectable_difference(0.2, 0.2) == 0
