"""How much of the training data a fine-tuned model of a comparison may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medprior.errors import ConfigError
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.finetune.settings import Task

BUDGET_AXES = ("fractions", "masks")


@dataclass(frozen=True)
class LabelBudget:
    """One point of a low-data axis.

    Attributes:
        name: as in keys, `10pct` or `masks_5`.
        values: what it says to `medprior finetune`.
    """

    name: str
    values: dict[str, Any]


def format_share_key(fraction: float) -> str:
    """A fraction as part of a key: 0.1 is `10pct`, 0.001 is `0p1pct`."""
    return f"{100 * fraction:g}".replace(".", "p") + "pct"


def list_label_budgets(settings: CompareSettings, task: Task, arm: Arm | None = None) -> list[LabelBudget]:
    """Shares of the training patients, then numbers of masks, largest first.

    A list `fractions` among a task's settings stands in for the comparison's; a list `masks` adds
    models from so many masks each (one number instead is a setting like any other). What an arm
    has under the task's name comes first; `masks: null` leaves that axis out.

    Raises:
        ConfigError: a share outside ]0, 1], or a number of masks below 1.
    """
    own = (arm.finetune.get(task) if arm else None) or {}
    values = settings.finetune[task] | {key: own[key] for key in BUDGET_AXES if key in own}
    given = values.get("fractions", settings.fractions)
    fractions = sort_axis_values(given, f"finetune.{task}.fractions", "shares above 0 up to 1", 1.0)
    masks = values.get("masks")
    masks = masks if isinstance(masks, (list, tuple)) else []
    numbers = sort_axis_values(masks, f"finetune.{task}.masks", "whole numbers from 1 on", None)
    return [LabelBudget(format_share_key(part), {"fraction": part}) for part in fractions] + [
        LabelBudget(f"masks_{int(number)}", {"fraction": 1.0, "masks": int(number)}) for number in numbers
    ]


def sort_axis_values(given: Any, where: str, expected: str, most: float | None) -> list[float]:
    """The different numbers of `given`, largest first; ConfigError where one does not fit."""
    numbers = list(given) if isinstance(given, (list, tuple)) else [given]
    plain = [n for n in numbers if isinstance(n, (int, float)) and not isinstance(n, bool)]
    fits = [0 < n <= most if most is not None else n >= 1 and n == int(n) for n in plain]
    if len(plain) < len(numbers) or not all(fits):
        raise ConfigError("not an axis of low data", where=where, expected=expected,
                          found=repr(given)[:80])  # fmt: skip
    return sorted(set(plain), reverse=True)


def drop_budget_axes(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of a task that all its models share."""
    return {
        key: value
        for key, value in values.items()
        if key not in BUDGET_AXES or (key == "masks" and not isinstance(value, (list, tuple)))
    }
