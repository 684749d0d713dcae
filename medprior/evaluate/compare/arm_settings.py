"""What an arm of a comparison is trained with: shared settings under its own."""

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
    """The tasks an arm is fine-tuned for: the comparison's but those it sets to null."""
    return [task for task in settings.finetune if arm.finetune.get(task, {}) is not None]


def build_pretrain_settings(arm: Arm, seed: int, settings: CompareSettings) -> PretrainSettings:
    """Settings of the arm's pretraining; ConfigError where they do not fit."""
    values = merge_mappings(settings.pretrain, arm.pretrain)
    return PretrainSettings.checked(values | {"recipe": arm.recipe, "seed": seed})


def find_shared_backbones(arms: Mapping[str, Arm]) -> dict[str, str]:
    """Arm -> the first arm of the same recipe, prior and settings of pretraining; else itself."""
    alike = {name: arm.model_copy(update={"finetune": {}}) for name, arm in arms.items()}
    return {
        name: next(first for first in arms if first == name or (arm.recipe is not None and alike[first] == alike[name]))
        for name, arm in arms.items()
    }


def build_finetune_settings(
    arm: Arm, seed: int, settings: CompareSettings, task: Task, budget: LabelBudget
) -> FinetuneSettings:
    """Settings of one of the arm's models; ConfigError where they do not fit.

    Under a task's name an arm has settings for that task alone (a CNN's architecture is for one).
    """
    own: dict[str, Any] = {k: v for k, v in arm.finetune.items() if k not in FINETUNE_TASKS}
    alone = arm.finetune.get(task, {})
    if not isinstance(alone, dict):
        raise ConfigError("not settings of a task", where=f"finetune.{task}", expected="a mapping")
    values = merge_mappings(merge_mappings(drop_budget_axes(settings.finetune[task]), own), drop_budget_axes(alone))
    values |= budget.values
    return FinetuneSettings.checked(values | {"task": task, "seed": seed})
