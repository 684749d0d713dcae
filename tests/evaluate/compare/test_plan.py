"""Settings of every arm, checked before anything is trained."""

import json

import pytest

from medprior.errors import ConfigError
from medprior.evaluate.compare.label_budgets import list_label_budgets
from medprior.evaluate.compare.plan import (
    build_finetune_settings,
    build_pretrain_settings,
    check_arms,
    check_recipes,
    find_shared_backbones,
    list_arm_tasks,
    save_or_check_plan,
)
from medprior.evaluate.compare.settings import Arm, CompareSettings


def settings(**tasks):
    return CompareSettings.from_values({"fractions": [1.0, 0.1], "finetune": tasks})


def test_arms_of_the_same_pretraining_share_it():
    span = {"recipe": "span", "pretrain": {"steps": 9}}
    arms = {
        "a": Arm.from_values(span),
        "b": Arm.from_values(span | {"finetune": {"head": "cls"}}),
        "c": Arm.from_values(span | {"prior": "elsewhere"}),
        "d": Arm.from_values(span | {"pretrain": {"steps": 8}}),
        "e": Arm(recipe=None),
        "f": Arm(recipe=None),
        "g": Arm.from_values(span | {"prior": "elsewhere", "finetune": {"head": "cls"}}),
    }
    assert find_shared_backbones(arms) == {n: {"b": "a", "g": "c"}.get(n, n) for n in arms}


def test_an_arm_may_say_what_holds_for_one_task():
    given = settings(classification={"epochs": 1}, segmentation={"epochs": 1})
    arm = Arm(recipe=None, finetune={"lr": 0.1, "classification": {"sar_weight": 0.01}})
    (full, *_), (whole, *_) = (list_label_budgets(given, t) for t in ("classification", "segmentation"))
    assert build_finetune_settings(arm, 0, given, "classification", full).sar_weight == 0.01
    values = build_finetune_settings(arm, 0, given, "segmentation", whole)
    assert (values.sar_weight, values.lr) == (0, 0.1)
    assert list_arm_tasks(arm, given) == ["classification", "segmentation"]
    assert list_arm_tasks(Arm(finetune={"segmentation": None}), given) == ["classification"]


def test_an_arm_overrides_the_shared_pretraining_but_not_recipe_and_seed():
    shared = CompareSettings.from_values({"pretrain": {"steps": 5, "batch": 4, "seed": 9, "dino": {"prototypes": 16}}})
    arm = Arm.from_values({"recipe": "dino", "pretrain": {"batch": 8, "dino": {"hidden": 32}}})
    values = build_pretrain_settings(arm, 2, shared)
    assert (values.steps, values.batch, values.seed, values.recipe) == (5, 8, 2, "dino")
    assert (values.dino.prototypes, values.dino.hidden) == (16, 32)


def test_a_budget_is_stronger_than_the_arm():
    given = settings(segmentation={"epochs": 3})
    budget = list_label_budgets(given, "segmentation")[1]
    arm = Arm(recipe=None, finetune={"epochs": 2, "fraction": 0.7, "seed": 5})
    values = build_finetune_settings(arm, 1, given, "segmentation", budget)
    assert (values.epochs, values.fraction, values.seed, values.task) == (2, 0.1, 1, "segmentation")
    with pytest.raises(ConfigError, match="not settings of a task"):
        build_finetune_settings(Arm(finetune={"segmentation": 3}), 0, given, "segmentation", budget)


@pytest.mark.parametrize("recipes", [[], ["dino", "dino"], ["magic"], ["dino+magic"], ["mine+dino"]])
def test_arms_must_be_known_and_differ(recipes):
    given = CompareSettings(arms={"mine": Arm(recipe=None)})
    with pytest.raises(ConfigError, match="not a list of different recipes"):
        check_recipes(recipes, given)
    check_recipes(["mine", "dino", "span"], given)


def test_the_arm_with_invalid_settings_is_named():
    given = settings(classification={"epochs": 1})
    arms = {"good": Arm(recipe="dino"), "bad": Arm(recipe=None, finetune={"classification": {"epochs": -1}})}
    with pytest.raises(ConfigError, match="bad"):
        check_arms(arms, given)
    check_arms({"unused": Arm(recipe=None, finetune={"segmentation": {"epochs": -1}})}, given)
    with pytest.raises(ConfigError, match="worse"):
        check_arms({"worse": Arm(recipe="dino", pretrain={"steps": -1})}, given)


def test_a_plan_may_be_continued_with_the_same_arms_in_the_same_order(tmp_path):
    given = CompareSettings.from_values({"seeds": 2})
    save_or_check_plan(tmp_path, ["dino", "span"], given)
    save_or_check_plan(tmp_path, ["dino", "span"], given)
    for recipes, other in ((["span", "dino"], given), (["dino"], given), (["dino", "span"], CompareSettings(seeds=3))):
        with pytest.raises(ConfigError, match="comparison with other recipes or settings"):
            save_or_check_plan(tmp_path, recipes, other)


def test_a_setting_that_an_older_plan_lacks_counts_as_its_default(tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"recipes": ["dino"], "seeds": 2}))
    save_or_check_plan(tmp_path, ["dino"], CompareSettings.from_values({"seeds": 2}))
    with pytest.raises(ConfigError, match="comparison with other"):
        save_or_check_plan(tmp_path, ["dino"], CompareSettings.from_values({"seeds": 2, "fractions": [0.5]}))
