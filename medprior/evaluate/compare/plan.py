"""Settings of the arms of a comparison, checked before training, and its `plan.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medprior.errors import ConfigError
from medprior.evaluate.compare.label_budgets import LabelBudget, drop_budget_settings, list_label_budgets
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.pretrain.settings import RECIPES, PretrainSettings
from medprior.provenance import write_json
from medprior.settings import merge_mappings, read_mapping

PLAN_FILE = "plan.json"
FINETUNE_TASKS: tuple[Task, ...] = ("classification", "segmentation")


def list_arm_tasks(arm: Arm, settings: CompareSettings) -> list[Task]:
    """Tasks an arm is fine-tuned for: those of the comparison that it does not set to null."""
    return [task for task in settings.finetune if arm.finetune.get(task, {}) is not None]


def build_pretrain_settings(arm: Arm, seed: int, settings: CompareSettings) -> PretrainSettings:
    """Pretraining settings of the arm; ConfigError if they are invalid."""
    values = merge_mappings(settings.pretrain, arm.pretrain)
    return PretrainSettings.from_values(values | {"recipe": arm.recipe, "seed": seed})


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
        merge_mappings(drop_budget_settings(settings.finetune[task]), arm_values), drop_budget_settings(task_values)
    )
    values |= budget.values
    return FinetuneSettings.from_values(values | {"task": task, "seed": seed})


def check_recipes(recipes: Sequence[str], settings: CompareSettings) -> None:
    """ConfigError unless `recipes` are different arms or recipes of `medprior pretrain`."""
    unknown = [name for name in recipes if name not in settings.arms and set(name.split("+")) - set(RECIPES)]
    if not recipes or unknown or len(set(recipes)) < len(recipes):
        raise ConfigError(
            "not a list of different recipes",
            where="--recipes",
            expected=", ".join(sorted({*RECIPES, *settings.arms})),
            found=", ".join(recipes) or "none",
        )


def check_arms(arms: Mapping[str, Arm], settings: CompareSettings) -> None:
    """ConfigError for the first arm with invalid settings."""
    for name, arm in arms.items():
        try:
            if arm.recipe is not None:
                build_pretrain_settings(arm, 0, settings)
            for task in list_arm_tasks(arm, settings):
                for budget in list_label_budgets(settings, task, arm):
                    build_finetune_settings(arm, 0, settings, task, budget)
        except ConfigError as error:
            raise ConfigError(str(error), where=f"arm {name}") from None


def save_or_check_plan(out: Path, recipes: Sequence[str], settings: CompareSettings) -> None:
    """Write `plan.json`, or ConfigError if an existing one differs from this comparison.

    A setting missing in the existing plan counts as its default.
    """
    path = out / PLAN_FILE
    if not path.is_file():
        write_json(path, {"recipes": list(recipes), **settings.model_dump(mode="json")})
        return
    values = read_mapping(path)
    saved_recipes = values.pop("recipes", None)
    if saved_recipes != list(recipes) or CompareSettings.from_values(values, f"{out.name}/{PLAN_FILE}") != settings:
        raise ConfigError(
            "this folder holds a comparison with other recipes or settings",
            where=out.name,
            fix="use the same ones to continue, or another folder",
        )
