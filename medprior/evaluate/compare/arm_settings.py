"""Training settings of an arm: its own settings over those shared by all arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medprior.errors import ConfigError
from medprior.evaluate.compare.label_budgets import LabelBudget, drop_budget_axes
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.pretrain.settings import PretrainSettings
from medprior.settings import merge_mappings

FINETUNE_TASKS: tuple[Task, ...] = ("classification", "segmentation")


def list_arm_tasks(arm: Arm, settings: CompareSettings) -> list[Task]:
    """Tasks an arm is fine-tuned for: those of the comparison that it does not set to null."""
    return [task for task in settings.finetune if arm.finetune.get(task, {}) is not None]


def build_pretrain_settings(arm: Arm, seed: int, settings: CompareSettings) -> PretrainSettings:
    """Pretraining settings of the arm; ConfigError if they are invalid."""
    values = merge_mappings(settings.pretrain, arm.pretrain)
    return PretrainSettings.checked(values | {"recipe": arm.recipe, "seed": seed})


def find_shared_backbones(arms: Mapping[str, Arm]) -> dict[str, str]:
    """Arm -> first arm with the same recipe, prior and pretraining settings, or itself."""
    pretraining = {name: arm.model_copy(update={"finetune": {}}) for name, arm in arms.items()}
    return {
        name: next(
            first
            for first in arms
            if first == name or (arm.recipe is not None and pretraining[first] == pretraining[name])
        )
        for name, arm in arms.items()
    }


def build_finetune_settings(
    arm: Arm, seed: int, settings: CompareSettings, task: Task, budget: LabelBudget
) -> FinetuneSettings:
    """Fine-tuning settings of one model of the arm; ConfigError if they are invalid.

    Settings under a task's name hold for that task alone, such as a CNN's architecture.
    """
    arm_values: dict[str, Any] = {key: value for key, value in arm.finetune.items() if key not in FINETUNE_TASKS}
    task_values = arm.finetune.get(task, {})
    if not isinstance(task_values, dict):
        raise ConfigError("not settings of a task", where=f"finetune.{task}", expected="a mapping")
    values = merge_mappings(
        merge_mappings(drop_budget_axes(settings.finetune[task]), arm_values), drop_budget_axes(task_values)
    )
    values |= budget.values
    return FinetuneSettings.checked(values | {"task": task, "seed": seed})
