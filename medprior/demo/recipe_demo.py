"""Comparison of every pretraining objective with DINO on generated radiographs, run by `make recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from medprior.demo.phantom_demo import build_demo_priors, generate_cohort
from medprior.demo.stage_pipeline import StagePipeline
from medprior.provenance import write_json
from medprior.settings import Settings

RECIPE_PRETRAIN: dict[str, Any] = {
    "steps": 210,
    "batch": 32,
    "window": 10,
    "network": {"image_size": 64},
    "crops": {"global_size": 64, "local_size": 32, "locals": 2},
    "optimiser": {"lr": 0.0015},
}
RECIPE_ARMS = {
    "dino+koleo": ("dino", None),
    "dino": ("nokoleo", None),
    "sar": ("sar", None),
    "sar+nosn": ("sar+nosn", None),
    "loca": ("loca", None),
    "loca-alone": ("loca-alone", None),
    "ibot": ("ibot", None),
    "span-static": ("span", "static"),
    "span-registered": ("span", "registered"),
    "span-statistics": ("span", "statistics"),
    "all": ("all", "registered"),
}
"""Arm -> recipe and prior.

`dino` is plain DINO and `loca-alone` LOCA's own objective; every other arm adds what it is called to DINO with KoLeo.
"""
SUPERVISED_ARMS: dict[str, dict[str, Any]] = {
    "scratch": {"recipe": None},
    "sar": {"recipe": None, "finetune": {"sar_weight": 0.01}},
    "life": {"recipe": None, "finetune": {"network": {"life": True}}},
}


class RecipeDemoSettings(Settings):
    """Size of the study; the defaults take about two and a half hours on two CPU cores.

    Attributes:
        workers: processes that run in parallel. seeds: number per arm.
        pretrain: budget and views of all recipes. supervised: settings of the classifiers trained from scratch.
        segmentation: settings of the segmenters trained after LOCA and DINO.
    """

    patients: int = 420
    seed: int = 0
    image_size: int = 256
    workers: int = Field(default=2, ge=0)
    seeds: int = Field(default=3, ge=1)
    pretrain: dict[str, Any] = Field(default_factory=lambda: dict(RECIPE_PRETRAIN))
    supervised: dict[str, Any] = Field(
        default_factory=lambda: {"epochs": 15, "size": 64, "network": {"image_size": 64}}
    )
    segmentation: dict[str, Any] = Field(default_factory=lambda: {"epochs": 5, "size": 64})


def run_recipe_demo(folder: Path, settings: RecipeDemoSettings) -> None:
    """Generate phantoms and priors, compare recipes with and without LIFE, then supervised arms."""
    pipeline = StagePipeline(folder)
    _, cohort = generate_cohort(pipeline, folder, settings.patients, settings.seed, settings.image_size)
    build_demo_priors(pipeline, folder, cohort)
    statistics = folder / "prior_statistics"
    pipeline.run_stage(
        "Prior from the cohort's statistics, without a label", "prior", cohort, statistics,
        "--method", "statistics", result=statistics / "config.json",
    )  # fmt: skip
    compare_study_arms(pipeline, cohort, folder / "recipes", build_recipe_study(folder, settings), settings.workers)
    compare_study_arms(pipeline, cohort, folder / "supervised", build_supervised_study(settings), settings.workers)
    print(pipeline.format_cost())


def compare_study_arms(pipeline: StagePipeline, cohort: Path, out: Path, study: dict[str, Any], workers: int) -> None:
    """Compare all arms of a study."""
    config = out.with_suffix(".json")
    write_json(config, study)
    pipeline.run_stage(
        f"Compare: {out.name}", "compare", cohort, out, "--recipes", *study["arms"],
        "--config", config, "--workers", workers, result=out / "config.json",
    )  # fmt: skip


def build_recipe_study(folder: Path, settings: RecipeDemoSettings) -> dict[str, Any]:
    """Settings of every recipe with and without LIFE; segmenters after LOCA and its baselines only."""
    arms: dict[str, Any] = {}
    for life in ("", "+life"):
        for name, (recipe, prior) in RECIPE_ARMS.items():
            arm: dict[str, Any] = {"recipe": recipe + life}
            if prior:
                arm["prior"] = str(folder / f"prior_{prior}")
            if name + life not in ("dino+koleo", "loca", "loca-alone"):
                arm["finetune"] = {"segmentation": None}
            arms[name + life] = arm
    return {
        "seeds": settings.seeds,
        "pretrain": settings.pretrain,
        "finetune": {"segmentation": settings.segmentation},
        "arms": arms,
    }


def build_supervised_study(settings: RecipeDemoSettings) -> dict[str, Any]:
    """Settings of supervised classification from scratch: plain, with SAR, with LIFE."""
    return {"seeds": settings.seeds, "finetune": {"classification": settings.supervised}, "arms": SUPERVISED_ARMS}
