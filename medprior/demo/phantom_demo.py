"""Demonstration of all stages on generated radiographs, run by `make demo`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medprior.demo.first_stages import annotate_typical_radiograph
from medprior.demo.stage_pipeline import StagePipeline, format_overrides
from medprior.errors import MedpriorError
from medprior.resources import find_anatomy_model
from medprior.settings import Settings

DEMO_MODEL_NAME = "medprior-demo"


class PhantomDemoSettings(Settings):
    """Size of the demonstration; the defaults fit two CPU cores and twelve minutes.

    SPAN and DINO are compared on frozen backbones: their few steps do not teach what findings look like. The model
    that is deployed starts from the backbone of the anatomy model, which has seen real radiographs.

    Attributes:
        patients: generated patients.
        seed: of the patients.
        image_size: rows of an image.
        phantom: settings of `medprior phantom`, each `key=value`. Findings are large and dense, as those that real
            reports name; a third of the patients have each.
        pretrain: settings of `medprior pretrain`.
        classification: settings of `medprior finetune` with labels, of SPAN and DINO.
        findings: the same of the model that is deployed.
        segmentation: settings of `medprior finetune` with masks.
    """

    patients: int = 220
    seed: int = 7
    image_size: int = 512
    phantom: tuple[str, ...] = (
        "subtlety=0.1", "prevalence.pleural_effusion=0.35", "prevalence.consolidation=0.35",
        "prevalence.nodule=0.35", "prevalence.pneumothorax=0.3",
    )  # fmt: skip
    pretrain: tuple[str, ...] = (
        "steps=240", "batch=32", "window=10", "crops.global_size=80", "crops.local_size=32",
        "crops.locals=2", "optimiser.lr=0.0015", "span.weight=1.0",
    )  # fmt: skip
    classification: tuple[str, ...] = ("freeze=true", "epochs=40", "lr=0.003")
    findings: tuple[str, ...] = ("epochs=20", "lr=0.001")
    segmentation: tuple[str, ...] = ("epochs=8", "size=96")


def run_phantom_demo(folder: Path, settings: PhantomDemoSettings) -> None:
    """Run every stage from the phantom to a prediction, and print a summary."""
    from medprior.demo.metrics_table import print_summary

    pipeline = StagePipeline(folder)
    phantom, cohort = generate_cohort(
        pipeline, folder, settings.patients, settings.seed, settings.image_size, settings.phantom
    )
    build_demo_priors(pipeline, folder, cohort)
    train_demo_models(pipeline, folder, cohort, settings)
    evaluate_demo_models(pipeline, folder, cohort)
    predict_example_radiograph(pipeline, folder)
    alias = deploy_demo_model(pipeline, folder, cohort, phantom)
    print_summary(folder, DEMO_MODEL_NAME, alias, pipeline.format_cost())


def generate_cohort(
    pipeline: StagePipeline, folder: Path, patients: int, seed: int, size: int, overrides: Sequence[str] = ()
) -> tuple[Path, Path]:
    """Generate radiographs and ingest them: folders of the phantom and of its cohort."""
    phantom, cohort = folder / "phantom", folder / "cohort"
    pipeline.run_stage(
        "Generate radiographs", "phantom", phantom, "--patients", patients, "--seed", seed, "--size", size,
        *format_overrides(overrides), result=phantom / "config.json",
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
    """SPAN and DINO at equal budget, a classifier from each, a segmenter, and the classifier that is deployed."""
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
    pipeline.run_stage(
        "Fine-tune findings from the anatomy model", "finetune", cohort, folder / "findings", "--task",
        "classification", "--backbone", find_anatomy_model().parent / "backbone",
        *format_overrides(settings.findings), result=folder / "findings" / "config.json",
    )  # fmt: skip


def select_dino_settings(settings: PhantomDemoSettings) -> tuple[str, ...]:
    """The pretraining overrides without those of SPAN."""
    return tuple(item for item in settings.pretrain if not item.startswith("span."))


def evaluate_demo_models(pipeline: StagePipeline, folder: Path, cohort: Path) -> None:
    """Evaluate SPAN against its baselines, and the deployed model, on the test split."""
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
    pipeline.run_stage(
        "Evaluate the model to deploy", "evaluate", cohort, folder / "evidence_findings",
        "--model", f"findings={folder / 'findings'}", result=folder / "evidence_findings" / "report.html",
    )  # fmt: skip


def deploy_demo_model(pipeline: StagePipeline, folder: Path, cohort: Path, phantom: Path) -> str:
    """Register the model, let the gate decide whether it is champion, and predict one DICOM file through its alias.

    Returns:
        `champion`, or `challenger` if the gate refused it.
    """
    pipeline.run_stage(
        "Register", "register", folder / "findings", DEMO_MODEL_NAME,
        "--segmenter", folder / "segmenter", "--evidence", folder / "evidence_findings",
        result=folder / "findings" / "config.json",
    )  # fmt: skip
    alias = "champion"
    try:
        pipeline.run_stage(
            "Promote if the gate lets it pass", "promote", DEMO_MODEL_NAME, "--cohort", cohort,
            result=folder / "findings" / "config.json",
        )  # fmt: skip
    except MedpriorError as error:
        alias = "challenger"
        print(f"   not champion: {error}")
    first = sorted((phantom / "dicom").rglob("*.dcm"))[0]
    pipeline.run_stage(
        "Predict from the registry", "predict", first, "-o", folder / "prediction",
        "--model", f"models:/{DEMO_MODEL_NAME}@{alias}", result=folder / "prediction" / "report.csv",
    )  # fmt: skip
    return alias


def predict_example_radiograph(pipeline: StagePipeline, folder: Path) -> None:
    """Outline lungs and heart of a real radiograph with the anatomy model that comes with medprior."""
    example = find_anatomy_model().parents[1] / "docs" / "example.png"
    pipeline.run_stage(
        "A real radiograph (image 071 of the Extended Wingspan CTR data set, MIT licence)", "predict", example,
        "-o", folder / "real_prediction", result=folder / "real_prediction" / "report.csv",
    )  # fmt: skip
