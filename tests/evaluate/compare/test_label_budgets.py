"""The axes of low data, and what each arm trains with on them."""

import pytest

from medprior.errors import ConfigError
from medprior.evaluate.compare.label_budgets import drop_budget_settings, format_share_key, list_label_budgets
from medprior.evaluate.compare.plan import build_finetune_settings
from medprior.evaluate.compare.settings import Arm, CompareSettings


def settings(**tasks):
    return CompareSettings.from_values({"fractions": [1.0, 0.1], "finetune": tasks})


def test_a_task_may_have_fractions_and_masks_of_its_own():
    given = settings(
        classification={"epochs": 1},
        segmentation={"fractions": [1.0], "masks": [1, 20, 5], "epochs": 2},
    )
    assert [b.name for b in list_label_budgets(given, "classification")] == ["100pct", "10pct"]
    names = ["100pct", "masks_20", "masks_5", "masks_1"]
    assert [b.name for b in list_label_budgets(given, "segmentation")] == names
    assert drop_budget_settings(given.finetune["segmentation"]) == {"epochs": 2}
    five = build_finetune_settings(Arm(), 3, given, "segmentation", list_label_budgets(given, "segmentation")[2])
    assert (five.masks, five.fraction, five.seed, five.epochs) == (5, 1.0, 3, 2)
    one = settings(segmentation={"masks": 4})
    assert [b.name for b in list_label_budgets(one, "segmentation")] == ["100pct", "10pct"]
    assert build_finetune_settings(Arm(), 0, one, "segmentation", list_label_budgets(one, "segmentation")[0]).masks == 4


def test_an_arm_may_leave_an_axis_out():
    given = settings(segmentation={"fractions": [1.0], "masks": [1, 5]})
    arm = Arm(recipe=None, finetune={"segmentation": {"targets": "prior", "masks": None}})
    assert [b.name for b in list_label_budgets(given, "segmentation", arm)] == ["100pct"]
    values = build_finetune_settings(arm, 0, given, "segmentation", list_label_budgets(given, "segmentation", arm)[0])
    assert (values.targets, values.masks) == ("prior", None)


@pytest.mark.parametrize("wrong", [{"masks": [0]}, {"masks": [2.5]}, {"fractions": [1.5]},
                                   {"fractions": ["all"]}, {"masks": [True]}])  # fmt: skip
def test_axes_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="invalid label budgets"):
        list_label_budgets(settings(segmentation=wrong), "segmentation")


def test_share_names_a_key():
    assert [format_share_key(f) for f in (1.0, 0.1, 0.01, 0.001)] == ["100pct", "10pct", "1pct", "0p1pct"]
