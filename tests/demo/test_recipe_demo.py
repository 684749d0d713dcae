import pytest

from medprior.demo import recipe_demo
from medprior.demo.recipe_demo import RECIPE_ARMS, RecipeDemoSettings, build_recipe_study, build_supervised_study
from medprior.evaluate.compare.plan import build_pretrain_settings, check_arms
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
        (build_recipe_study(tmp_path, RecipeDemoSettings()), 22),
        (build_supervised_study(RecipeDemoSettings()), 3),
    ):
        settings = CompareSettings.from_values(study)
        assert len(settings.arms) == arms
        check_arms({name: settings.arm(name, tmp_path) for name in settings.arms}, settings)


def test_only_loca_and_its_baselines_have_segmenters_and_priors_are_those_of_the_arm(tmp_path):
    arms = build_recipe_study(tmp_path, RecipeDemoSettings())["arms"]
    assert [name for name, arm in arms.items() if "finetune" not in arm] == ["dino+koleo", "loca", "loca-alone"]
    assert all(arm["finetune"] == {"segmentation": None} for arm in arms.values() if "finetune" in arm)
    assert arms["dino+life"]["recipe"] == "nokoleo+life"
    assert arms["sar+nosn+life"]["recipe"] == "sar+nosn+life"
    assert arms["all"]["prior"] == arms["span-registered+life"]["prior"] == str(tmp_path / "prior_registered")
    assert {name.removesuffix("+life") for name, arm in arms.items() if "prior" in arm} == {
        "span-static", "span-registered", "span-statistics", "all",
    }  # fmt: skip


def test_baselines_are_what_they_are_called(tmp_path):
    """Plain DINO has no KoLeo, LOCA alone no DINO, and each stands beside its sibling."""
    settings = CompareSettings.from_values(build_recipe_study(tmp_path, RecipeDemoSettings()))
    weights = {}
    for name in ("dino", "dino+koleo", "loca", "loca-alone", "sar", "sar+nosn"):
        values = build_pretrain_settings(settings.arm(name, None), 0, settings)
        weights[name] = (values.dino.weight, values.dino.koleo_weight, values.loca.weight, values.network.nosn)
    assert weights == {
        "dino": (1, 0, 0, False), "dino+koleo": (1, 0.1, 0, False), "loca": (1, 0.1, 0.5, False),
        "loca-alone": (0, 0, 1, False), "sar": (1, 0.1, 0, False), "sar+nosn": (1, 0.1, 0, True),
    }  # fmt: skip
