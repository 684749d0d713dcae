import pytest

from medprior.demo import recipe_demo
from medprior.demo.recipe_demo import RECIPE_ARMS, RecipeDemoSettings, build_recipe_study, build_supervised_study
from medprior.evaluate.compare.plan import check_arms
from medprior.evaluate.compare.settings import CompareSettings

TINY = {
    "steps": 4, "batch": 4, "window": 2, "network": {"width": 24, "depth": 1},
    "crops": {"global_size": 32, "local_size": 16, "locals": 1}, "dino": {"prototypes": 16},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_recipes_end_with_both_tables(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", str(tmp_path / "keys" / "identity.key"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(recipe_demo, "RECIPE_ARMS", {k: RECIPE_ARMS[k] for k in ("dino+koleo", "loca", "all")})
    small = {"epochs": 1, "size": 32, "network": {"width": 24, "depth": 1, "image_size": 32}}
    settings = RecipeDemoSettings(
        patients=70, image_size=128, seeds=1, workers=0, pretrain=TINY, supervised=small,
        segmentation={"epochs": 1, "size": 32},
    )  # fmt: skip
    recipe_demo.run_recipe_demo(tmp_path / "row", settings)
    table = (tmp_path / "row/recipes/table.md").read_text()
    assert "| all+life |" in table
    assert "fine-tuned Dice" in table
    assert "| sar |" in (tmp_path / "row/supervised/table.md").read_text()


def test_every_arm_of_both_studies_fits_a_comparison(tmp_path):
    """With all of its budgets, before hours are spent."""
    for study, arms in (
        (build_recipe_study(tmp_path, RecipeDemoSettings()), 18),
        (build_supervised_study(RecipeDemoSettings()), 3),
    ):
        settings = CompareSettings.from_values(study)
        assert len(settings.arms) == arms
        check_arms({name: settings.arm(name, tmp_path) for name in settings.arms}, settings)


def test_only_loca_and_its_baseline_have_segmenters_and_priors_are_those_of_the_arm(tmp_path):
    arms = build_recipe_study(tmp_path, RecipeDemoSettings())["arms"]
    assert [name for name, arm in arms.items() if "finetune" not in arm] == ["dino+koleo", "loca"]
    assert all(arm["finetune"] == {"segmentation": None} for arm in arms.values() if "finetune" in arm)
    assert arms["dino+life"]["recipe"] == "nokoleo+life"
    assert arms["all"]["prior"] == arms["span-registered+life"]["prior"] == str(tmp_path / "prior_registered")
    assert {name.removesuffix("+life") for name, arm in arms.items() if "prior" in arm} == {
        "span-static", "span-registered", "span-statistics", "all",
    }  # fmt: skip
