"""The whole row on generated radiographs: what `make demo` runs."""

from __future__ import annotations

from pathlib import Path

from medprior.demo.stage_pipeline import StagePipeline, format_overrides
from medprior.settings import Settings

DEMO_MODEL_NAME = "medprior-demo"


class PhantomDemoSettings(Settings):
    """Size of the demonstration; the defaults fit two CPU cores and twelve minutes.

    The findings are learnt on a frozen backbone: two hundred images teach it nothing more, and its
    heads go on looking at the structures they were trained on, so that a prediction can be read.
    """

    patients: int = 180
    seed: int = 7
    image_size: int = 512
    pretrain: tuple[str, ...] = (
        "steps=240", "batch=32", "window=10", "crops.global_size=80", "crops.local_size=32",
        "crops.locals=2", "optimiser.lr=0.0015", "span.weight=1.0",
    )  # fmt: skip
    classification: tuple[str, ...] = ("freeze=true", "epochs=40", "lr=0.003")
    segmentation: tuple[str, ...] = ("epochs=8", "size=96")


def run_phantom_demo(folder: Path, settings: PhantomDemoSettings) -> None:
    """Run every stage from the phantom to a prediction, and print what came of it."""
    from medprior.demo.metrics_table import print_summary

    row = StagePipeline(folder)
    phantom, cohort = generate_cohort(row, folder, settings.patients, settings.seed, settings.image_size)
    build_demo_priors(row, folder, cohort)
    train_demo_models(row, folder, cohort, settings)
    evaluate_demo_models(row, folder, cohort)
    deploy_demo_model(row, folder, phantom)
    print_summary(folder, DEMO_MODEL_NAME, row.cost())


def generate_cohort(row: StagePipeline, folder: Path, patients: int, seed: int, size: int) -> tuple[Path, Path]:
    """Radiographs that `medprior phantom` makes, and their cohort: both folders."""
    phantom, cohort = folder / "phantom", folder / "cohort"
    row.stage(
        "Generate radiographs", "phantom", phantom, "--patients", patients,
        "--seed", seed, "--size", size, result=phantom / "config.json",
    )  # fmt: skip
    row.stage(
        "DICOM to cohort", "ingest", phantom, cohort, "--dataset", "phantom",
        "--store-size", 256, result=cohort / "config.json",
    )  # fmt: skip
    return phantom, cohort


def build_demo_priors(row: StagePipeline, folder: Path, cohort: Path) -> None:
    """From one annotated radiograph: a static prior, and one registered to every image."""
    annotation = folder / "annotation"
    row.stage(
        "One annotated radiograph (the most typical of the training split)", "annotate",
        annotation, "--cohort", cohort, "--image-id", "auto",
        result=annotation / "annotation.json",
    )  # fmt: skip
    for method, title in (
        ("static", "Static prior"),
        ("registered", "Prior registered to every image"),
    ):
        out = folder / f"prior_{method}"
        row.stage(
            title, "prior", cohort, out, "--annotation", annotation, "--method", method,
            result=out / "config.json",
        )  # fmt: skip


def train_demo_models(row: StagePipeline, folder: Path, cohort: Path, settings: PhantomDemoSettings) -> None:
    """SPAN and DINO at equal budget, a classifier from each, a segmenter."""
    for recipe in ("span", "dino"):
        backbone = folder / f"backbone_{recipe}"
        prior = ["--prior", folder / "prior_registered"] if recipe == "span" else []
        row.stage(
            f"Pretrain {recipe.upper()}", "pretrain", cohort, backbone, "--recipe", recipe,
            *prior, *format_overrides(settings.pretrain if recipe == "span" else select_dino_settings(settings)),
            result=backbone / "config.json",
        )  # fmt: skip
        model = folder / f"findings_{recipe}"
        row.stage(
            f"Fine-tune findings from {recipe.upper()}", "finetune", cohort, model, "--task",
            "classification", "--backbone", backbone, *format_overrides(settings.classification),
            result=model / "config.json",
        )  # fmt: skip
    row.stage(
        "Fine-tune lungs and heart from SPAN", "finetune", cohort, folder / "segmenter", "--task",
        "segmentation", "--backbone", folder / "backbone_span",
        *format_overrides(settings.segmentation), result=folder / "segmenter" / "config.json",
    )  # fmt: skip


def select_dino_settings(settings: PhantomDemoSettings) -> tuple[str, ...]:
    """The pretraining settings without those of SPAN alone."""
    return tuple(item for item in settings.pretrain if not item.startswith("span."))


def evaluate_demo_models(row: StagePipeline, folder: Path, cohort: Path) -> None:
    """Evidence on the test split, every baseline beside it."""
    row.stage(
        "Evaluate on patients never seen", "evaluate", cohort, folder / "evidence",
        "--backbone", f"SPAN={folder / 'backbone_span'}",
        "--backbone", f"DINO={folder / 'backbone_dino'}",
        "--model", f"SPAN={folder / 'findings_span'}",
        "--model", f"DINO={folder / 'findings_dino'}",
        "--model", f"segmenter={folder / 'segmenter'}",
        "--prior", f"static={folder / 'prior_static'}",
        "--prior", f"registered={folder / 'prior_registered'}",
        result=folder / "evidence" / "report.html",
    )  # fmt: skip


def deploy_demo_model(row: StagePipeline, folder: Path, phantom: Path) -> None:
    """Register the model, then ask it by its alias about one DICOM file."""
    row.stage(
        "Register", "register", folder / "findings_span", DEMO_MODEL_NAME, "--alias", "champion",
        "--segmenter", folder / "segmenter", "--evidence", folder / "evidence",
        result=folder / "findings_span" / "config.json",
    )  # fmt: skip
    first = sorted((phantom / "dicom").rglob("*.dcm"))[0]
    row.stage(
        "Predict from the registry", "predict", first, "-o", folder / "prediction",
        "--model", f"models:/{DEMO_MODEL_NAME}@champion", result=folder / "prediction" / "report.csv",
    )  # fmt: skip
