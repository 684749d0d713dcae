"""The axes of low data, and what each arm trains with on them."""

import pytest

from medprior.errors import ConfigError
from medprior.evaluate.compare.label_budgets import drop_budget_axes, list_label_budgets
from medprior.evaluate.compare.low_data import (
    format_budget,
    format_low_data_tables,
    list_measured_budgets,
    parse_budget_key,
)
from medprior.evaluate.compare.plan import build_finetune_settings, list_arm_tasks
from medprior.evaluate.compare.settings import Arm, CompareSettings


def settings(**tasks):
    return CompareSettings.checked({"fractions": [1.0, 0.1], "finetune": tasks})


def test_a_task_may_have_fractions_and_masks_of_its_own():
    given = settings(
        classification={"epochs": 1},
        segmentation={"fractions": [1.0], "masks": [1, 20, 5], "epochs": 2},
    )
    assert [b.name for b in list_label_budgets(given, "classification")] == ["100pct", "10pct"]
    names = ["100pct", "masks_20", "masks_5", "masks_1"]
    assert [b.name for b in list_label_budgets(given, "segmentation")] == names
    assert drop_budget_axes(given.finetune["segmentation"]) == {"epochs": 2}
    five = build_finetune_settings(Arm(), 3, given, "segmentation", list_label_budgets(given, "segmentation")[2])
    assert (five.masks, five.fraction, five.seed, five.epochs) == (5, 1.0, 3, 2)
    one = settings(segmentation={"masks": 4})
    assert [b.name for b in list_label_budgets(one, "segmentation")] == ["100pct", "10pct"]
    assert build_finetune_settings(Arm(), 0, one, "segmentation", list_label_budgets(one, "segmentation")[0]).masks == 4


def test_an_arm_may_leave_an_axis_out():
    given = settings(segmentation={"fractions": [1.0], "masks": [1, 5]})
    arm = Arm(recipe=None, finetune={"segmentation": {"targets": "prior", "masks": None}})
    assert [b.name for b in list_label_budgets(given, "segmentation", arm)] == ["100pct"]
    found = build_finetune_settings(arm, 0, given, "segmentation", list_label_budgets(given, "segmentation", arm)[0])
    assert (found.targets, found.masks) == ("prior", None)


@pytest.mark.parametrize("wrong", [{"masks": [0]}, {"masks": [2.5]}, {"fractions": [1.5]},
                                   {"fractions": ["all"]}, {"masks": [True]}])  # fmt: skip
def test_axes_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="invalid low-data axis"):
        list_label_budgets(settings(segmentation=wrong), "segmentation")


def test_an_arm_may_say_what_holds_for_one_task():
    given = settings(classification={"epochs": 1}, segmentation={"epochs": 1})
    arm = Arm(recipe=None, finetune={"lr": 0.1, "classification": {"sar_weight": 0.01}})
    (full, *_), (whole, *_) = (list_label_budgets(given, t) for t in ("classification", "segmentation"))
    assert build_finetune_settings(arm, 0, given, "classification", full).sar_weight == 0.01
    found = build_finetune_settings(arm, 0, given, "segmentation", whole)
    assert (found.sar_weight, found.lr) == (0, 0.1)
    assert list_arm_tasks(arm, given) == ["classification", "segmentation"]
    assert list_arm_tasks(Arm(finetune={"segmentation": None}), given) == ["classification"]


def record(value, low, high):
    return {"value": value, "ci95": [low, high], "n": 9}


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
