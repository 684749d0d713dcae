"""Label budgets of a comparison: shares of the training patients, and numbers of masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medprior.errors import ConfigError
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.finetune.settings import Task

BUDGET_AXES = ("fractions", "masks")


@dataclass(frozen=True)
class LabelBudget:
    """One label budget.

    Attributes:
        name: as in keys, `10pct` or `masks_5`.
        values: settings of `medprior finetune`.
    """

    name: str
    values: dict[str, Any]


def format_share_key(fraction: float) -> str:
    """A fraction as part of a key: 0.1 is `10pct`, 0.001 is `0p1pct`."""
    return f"{100 * fraction:g}".replace(".", "p") + "pct"


def list_label_budgets(settings: CompareSettings, task: Task, arm: Arm | None = None) -> list[LabelBudget]:
    """Shares of the training patients, then numbers of masks, largest first.

    A list `fractions` in a task's settings replaces that of the comparison; a list `masks` adds a
    model per number of masks (a single number is an ordinary setting). Settings of the arm under
    the task's name take precedence; `masks: null` leaves that axis out.

    Raises:
        ConfigError: a share outside ]0, 1], or a number of masks below 1.
    """
    task_values = (arm.finetune.get(task) if arm else None) or {}
    values = settings.finetune[task] | {key: task_values[key] for key in BUDGET_AXES if key in task_values}
    fraction_values = values.get("fractions", settings.fractions)
    fractions = validate_budget_values(fraction_values, f"finetune.{task}.fractions", "shares above 0 up to 1", 1.0)
    masks = values.get("masks")
    masks = masks if isinstance(masks, (list, tuple)) else []
    numbers = validate_budget_values(masks, f"finetune.{task}.masks", "whole numbers from 1 on", None)
    return [LabelBudget(format_share_key(fraction), {"fraction": fraction}) for fraction in fractions] + [
        LabelBudget(f"masks_{int(number)}", {"fraction": 1.0, "masks": int(number)}) for number in numbers
    ]


def validate_budget_values(axis: Any, where: str, expected: str, upper: float | None) -> list[float]:
    """The unique numbers of `axis`, largest first; ConfigError if one is invalid."""
    numbers = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    valid = [number for number in numbers if isinstance(number, (int, float)) and not isinstance(number, bool)]
    fits = [0 < number <= upper if upper is not None else number >= 1 and number == int(number) for number in valid]
    if len(valid) < len(numbers) or not all(fits):
        raise ConfigError("invalid label budgets", where=where, expected=expected,
                          found=repr(axis)[:80])  # fmt: skip
    return sorted(set(valid), reverse=True)


def drop_budget_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of a task without its budget axes, shared by all its models."""
    return {
        key: value
        for key, value in values.items()
        if key not in BUDGET_AXES or (key == "masks" and not isinstance(value, (list, tuple)))
    }
