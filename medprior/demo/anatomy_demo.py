"""Trains the anatomy model that comes with medprior, from few annotated radiographs and many others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from medprior.demo.first_stages import annotate_typical_radiograph, ingest_data_set, require_data_sets
from medprior.demo.stage_pipeline import StagePipeline
from medprior.provenance import read_config, write_json
from medprior.settings import Settings

ANATOMY_SOURCES = ("wingspan", "nih", "hannover", "kermany")
"""Data sets whose terms let weights be shipped; wingspan alone has masks."""
STRUCTURES = ("left_lung", "right_lung", "heart")
ANATOMY_PRETRAIN: dict[str, Any] = {
    "steps": 500,
    "batch": 32,
    "network": {"width": 144, "depth": 6, "heads": 6, "patch": 16, "image_size": 160},
    "crops": {"global_size": 160, "local_size": 64, "locals": 2},
    "optimiser": {"lr": 0.0007},
    "intensity": {"brightness": 0.1, "contrast": 0.3, "gamma": 0.3, "blur_p": 0.0},
    "dino": {"teacher_temperature": 0.04},
    "span": {"weight": 1.0},
}
ANATOMY_SEGMENTATION: dict[str, Any] = {
    "size": 224,
    "source_size": 256,
    "batch": 16,
    "decoder": "detail",
    "augment": {
        "scale": 0.2, "translate": 0.1, "stretch": 0.35, "rotate": 10.0,
        "intensity": {"brightness": 0.15, "contrast": 0.6, "gamma": 0.6, "blur_p": 0.2},
    },
}  # fmt: skip
"""Strong changes of aspect, rotation and exposure, since other hospitals differ in them."""


class AnatomyDemoSettings(Settings):
    """Size of the training; the defaults fit two CPU cores and three hours.

    Attributes:
        kermany_limit: number of children's radiographs, sampled at random.
        drawings: numbers of annotated radiographs that are compared; 0 stands for all, and is shipped.
        teacher_epochs, student_epochs: of the segmenter that learns from masks or from the registered prior, and of the
            one that it teaches.
        pretrain, segmentation: settings of the stages.
        unet_epochs: of the U-Net with all masks; 0 leaves it out. few_masks_unet_epochs: with few masks, where an
            epoch is one step; about as many steps.
    """

    store_size: int = 256
    kermany_limit: int = Field(default=700, ge=1)
    drawings: tuple[int, ...] = (0, 5, 1)
    teacher_epochs: int = Field(default=60, ge=1)
    student_epochs: int = Field(default=7, ge=1)
    unet_epochs: int = Field(default=60, ge=0)
    few_masks_unet_epochs: int = Field(default=400, ge=1)
    pretrain: dict[str, Any] = Field(default_factory=lambda: dict(ANATOMY_PRETRAIN))
    segmentation: dict[str, Any] = Field(default_factory=lambda: dict(ANATOMY_SEGMENTATION))


def run_anatomy_demo(folder: Path, data: Path, settings: AnatomyDemoSettings) -> None:
    """Pretrain with SPAN, train segmenters from 1, 5 and all masks, evaluate them, and gather the model to ship."""
    require_data_sets("--anatomy", data, ANATOMY_SOURCES)
    pipeline = StagePipeline(folder)
    cohort = folder / "cohort"
    for name in ANATOMY_SOURCES:
        limit = ("--limit", settings.kermany_limit) if name == "kermany" else ()
        ingest_data_set(pipeline, name, data, cohort, settings.store_size, *limit)
    annotation, prior = build_anatomy_prior(pipeline, folder, cohort)
    backbone = folder / "backbone"
    write_json(folder / "pretrain.json", settings.pretrain)
    pipeline.run_stage(
        "Pretrain SPAN", "pretrain", cohort, backbone, "--recipe", "span", "--prior", prior,
        "--config", folder / "pretrain.json", result=backbone / "config.json",
    )  # fmt: skip
    models: dict[str, Path] = {}
    for count in settings.drawings:
        limits = limit_drawings(count, annotation)
        models |= train_anatomy_segmenters(pipeline, folder, cohort, count, limits, settings)
    shipped = f"self-trained {name_drawings(settings.drawings[0])}"
    evaluate_anatomy_models(pipeline, folder, cohort, {shipped: models[shipped]} | models)
    gather_anatomy_model(folder, models[shipped])
    print(pipeline.format_cost())


def name_drawings(count: int) -> str:
    """`one`, `five` or `all` for a number of annotated radiographs; other numbers as digits."""
    return {0: "all", 1: "one", 5: "five"}.get(count, str(count))


def build_anatomy_prior(pipeline: StagePipeline, folder: Path, cohort: Path) -> tuple[Path, Path]:
    """The most typical annotated radiograph, and the prior registered from it to every other."""
    annotation, prior = annotate_typical_radiograph(pipeline, folder, cohort), folder / "prior"
    pipeline.run_stage(
        "Prior registered to every image", "prior", cohort, prior, "--annotation", annotation,
        "--method", "registered", result=prior / "config.json",
    )  # fmt: skip
    return annotation, prior


def limit_drawings(count: int, annotation: Path) -> dict[str, Any]:
    """Settings that limit the masks to `count` patients: the annotated image for 1, all masks for 0."""
    if count == 1:
        image_id = json.loads((annotation / "annotation.json").read_text())["image_id"]
        return {"mask_images": [image_id]}
    return {"masks": count} if count else {}


def train_anatomy_segmenters(
    pipeline: StagePipeline, folder: Path, cohort: Path, count: int, limits: dict[str, Any],
    settings: AnatomyDemoSettings,
) -> dict[str, Path]:  # fmt: skip
    """A segmenter from `count` masks, the one it teaches, and a U-Net from as many masks: name -> model folder.

    With limited masks the first one learns from the registered prior too.
    """
    name = name_drawings(count)
    shared = settings.segmentation | limits | {"structures": list(STRUCTURES)}
    first = shared | {"targets": "prior" if limits else "masks", "epochs": settings.teacher_epochs, "lr": 0.002}
    if limits:
        # About as many steps as from masks alone: the prior has maps of every image.
        first["epochs"] = max(1, settings.teacher_epochs // 10)
    second = shared | {"targets": "teacher", "epochs": settings.student_epochs, "lr": 0.002}
    plans: dict[str, tuple[dict[str, Any], list[object]]] = {
        f"segmenter {name}": (first, ["--prior", folder / "prior", "--backbone", folder / "backbone"]),
        f"self-trained {name}": (
            second, ["--teacher", folder / f"segmenter_{name}", "--backbone", folder / "backbone"],
        ),
    }  # fmt: skip
    if settings.unet_epochs:
        epochs = settings.few_masks_unet_epochs if limits else settings.unet_epochs
        unet = shared | {"architecture": "unet", "epochs": epochs}
        plans[f"unet {name}"] = (unet, [])
    models = {}
    for title, (values, options) in plans.items():
        out = folder / title.replace(" ", "_").replace("-", "_")
        write_json(out.with_suffix(".json"), values)
        pipeline.run_stage(
            f"Train: {title}", "finetune", cohort, out, "--task", "segmentation", *options,
            "--config", out.with_suffix(".json"), result=out / "config.json",
        )  # fmt: skip
        models[title] = out
    return models


def evaluate_anatomy_models(pipeline: StagePipeline, folder: Path, cohort: Path, models: dict[str, Path]) -> None:
    """Dice and cardiothoracic ratio of every model on test patients; the first is compared with the others."""
    arguments = [part for name, path in models.items() for part in ("--model", f"{name}={path}")]
    pipeline.run_stage(
        "Evaluate on patients never seen", "evaluate", cohort, folder / "evidence",
        "--backbone", f"SPAN={folder / 'backbone'}", *arguments, "--prior", f"registered={folder / 'prior'}",
        "--set", "probe=false",
        result=folder / "evidence" / "report.html",
    )  # fmt: skip


def gather_anatomy_model(folder: Path, segmenter: Path) -> Path:
    """Copy backbone and segmenter, without checkpoints and figures, to `anatomy/`; the folder that ships."""
    out = folder / "anatomy"
    shutil.rmtree(out, ignore_errors=True)
    for name, source in (("backbone", folder / "backbone"), ("segmenter", segmenter)):
        (out / name).mkdir(parents=True)
        for file in ("config.json", *read_config(source)["outputs"]):
            if Path(file).suffix in (".json", ".safetensors"):
                shutil.copy2(source / file, out / name / file)
    return out
