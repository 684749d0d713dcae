"""Demonstration of all stages on generated radiographs, run by `make demo`."""

from __future__ import annotations

from pathlib import Path

from medprior.demo.first_stages import annotate_typical_radiograph
from medprior.demo.stage_pipeline import StagePipeline, format_overrides
from medprior.settings import Settings

DEMO_MODEL_NAME = "medprior-demo"


class PhantomDemoSettings(Settings):
    """Size of the demonstration; the defaults fit two CPU cores and twelve minutes.

    Findings are learnt on a frozen backbone: two hundred images do not improve it, and its heads
    keep attending to the structures of the prior, so that attention maps stay readable.

    Attributes:
        patients: generated patients.
        seed: of the patients.
        image_size: rows of an image.
        pretrain: settings of `medprior pretrain`, each `key=value`.
        classification: settings of `medprior finetune` with labels.
        segmentation: settings of `medprior finetune` with masks.
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
    """Run every stage from the phantom to a prediction, and print a summary."""
    from medprior.demo.metrics_table import print_summary

    pipeline = StagePipeline(folder)
    phantom, cohort = generate_cohort(pipeline, folder, settings.patients, settings.seed, settings.image_size)
    build_demo_priors(pipeline, folder, cohort)
    train_demo_models(pipeline, folder, cohort, settings)
    evaluate_demo_models(pipeline, folder, cohort)
    deploy_demo_model(pipeline, folder, phantom)
    print_summary(folder, DEMO_MODEL_NAME, pipeline.format_cost())


def generate_cohort(pipeline: StagePipeline, folder: Path, patients: int, seed: int, size: int) -> tuple[Path, Path]:
    """Generate radiographs and ingest them: folders of the phantom and of its cohort."""
    phantom, cohort = folder / "phantom", folder / "cohort"
    pipeline.run_stage(
        "Generate radiographs", "phantom", phantom, "--patients", patients,
        "--seed", seed, "--size", size, result=phantom / "config.json",
    )  # fmt: skip
    pipeline.run_stage(
        "DICOM to cohort", "ingest", phantom, cohort, "--dataset", "phantom",
        "--store-size", 256, result=cohort / "config.json",
    )  # fmt: skip
    return phantom, cohort


def build_demo_priors(pipeline: StagePipeline, folder: Path, cohort: Path) -> None:
    """Build a static prior and a prior registered to every image from one annotated radiograph."""
    annotation = annotate_typical_radiograph(pipeline, folder, cohort)
    for method, title in (("static", "Static prior"), ("registered", "Prior registered to every image")):
        out = folder / f"prior_{method}"
        pipeline.run_stage(
            title, "prior", cohort, out, "--annotation", annotation, "--method", method,
            result=out / "config.json",
        )  # fmt: skip


def train_demo_models(pipeline: StagePipeline, folder: Path, cohort: Path, settings: PhantomDemoSettings) -> None:
    """SPAN and DINO at equal budget, a classifier from each, a segmenter."""
    for recipe in ("span", "dino"):
        backbone = folder / f"backbone_{recipe}"
        prior = ["--prior", folder / "prior_registered"] if recipe == "span" else []
        pipeline.run_stage(
            f"Pretrain {recipe.upper()}", "pretrain", cohort, backbone, "--recipe", recipe,
            *prior, *format_overrides(settings.pretrain if recipe == "span" else select_dino_settings(settings)),
            result=backbone / "config.json",
        )  # fmt: skip
        model = folder / f"findings_{recipe}"
        pipeline.run_stage(
            f"Fine-tune findings from {recipe.upper()}", "finetune", cohort, model, "--task",
            "classification", "--backbone", backbone, *format_overrides(settings.classification),
            result=model / "config.json",
        )  # fmt: skip
    pipeline.run_stage(
        "Fine-tune lungs and heart from SPAN", "finetune", cohort, folder / "segmenter", "--task",
        "segmentation", "--backbone", folder / "backbone_span",
        *format_overrides(settings.segmentation), result=folder / "segmenter" / "config.json",
    )  # fmt: skip


def select_dino_settings(settings: PhantomDemoSettings) -> tuple[str, ...]:
    """The pretraining overrides without those of SPAN."""
    return tuple(item for item in settings.pretrain if not item.startswith("span."))


def evaluate_demo_models(pipeline: StagePipeline, folder: Path, cohort: Path) -> None:
    """Evaluate the models and their baselines on the test split."""
    pipeline.run_stage(
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


def deploy_demo_model(pipeline: StagePipeline, folder: Path, phantom: Path) -> None:
    """Register the model, then predict one DICOM file through its alias."""
    pipeline.run_stage(
        "Register", "register", folder / "findings_span", DEMO_MODEL_NAME, "--alias", "champion",
        "--segmenter", folder / "segmenter", "--evidence", folder / "evidence",
        result=folder / "findings_span" / "config.json",
    )  # fmt: skip
    first = sorted((phantom / "dicom").rglob("*.dcm"))[0]
    pipeline.run_stage(
        "Predict from the registry", "predict", first, "-o", folder / "prediction",
        "--model", f"models:/{DEMO_MODEL_NAME}@champion", result=folder / "prediction" / "report.csv",
    )  # fmt: skip
