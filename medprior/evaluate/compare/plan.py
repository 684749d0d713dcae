"""Checks of a comparison before training, and its `plan.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from medprior.errors import ConfigError
from medprior.evaluate.compare.arm_settings import build_finetune_settings, build_pretrain_settings, list_arm_tasks
from medprior.evaluate.compare.label_budgets import list_label_budgets
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.pretrain.settings import RECIPES
from medprior.provenance import write_json
from medprior.settings import read_mapping

PLAN_FILE = "plan.json"


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
    if saved_recipes != list(recipes) or CompareSettings.checked(values, f"{out.name}/{PLAN_FILE}") != settings:
        raise ConfigError(
            "this comparison was begun with other recipes or settings",
            where=out.name,
            fix="use the same ones to go on, or another folder",
        )
