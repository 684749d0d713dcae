"""The row on real radiographs (NIH and Shenzhen): what `make real` runs."""

from __future__ import annotations

from pathlib import Path

from medprior.demo.row import Row, overrides
from medprior.errors import InputMissing
from medprior.settings import Settings

DATASETS = ("nih", "shenzhen")


class RealRowSettings(Settings):
    """Size of the run; the defaults fit two CPU cores and about twenty minutes."""

    pretrain: tuple[str, ...] = (
        "steps=600", "batch=32", "crops.global_size=80", "crops.local_size=32", "crops.locals=2",
        "optimiser.lr=0.0015", "span.weight=1.0",
    )  # fmt: skip
    classification: tuple[str, ...] = ("epochs=20", "size=96")
    label: str = "tuberculosis"


def run_real_row(folder: Path, data: Path, settings: RealRowSettings) -> None:
    """One Shenzhen mask as the annotation; SPAN, DINO and no pretraining at equal budget."""
    from medprior.demo.table import print_summary

    for name in DATASETS:
        if not (data / name).is_dir():
            raise InputMissing(
                "no such folder", where=f"--real {data}", expected=" and ".join(DATASETS),
                found=f"no {name}/", fix="name the folder that holds the public data sets",
            )  # fmt: skip
    row = Row(folder)
    cohort, annotation = folder / "cohort", folder / "annotation"
    for name in DATASETS:
        row.stage(
            f"Ingest {name}", "ingest", data / name, cohort, "--dataset", name,
            "--store-size", 256, result=cohort / "config.json",
        )  # fmt: skip
    row.stage(
        "One annotated radiograph (the most typical of the training split)", "annotate",
        annotation, "--cohort", cohort, "--image-id", "auto",
        result=annotation / "annotation.json",
    )  # fmt: skip
    for method in ("static", "registered"):
        out = folder / f"prior_{method}"
        row.stage(
            f"Prior, {method}", "prior", cohort, out, "--annotation", annotation,
            "--method", method, result=out / "config.json",
        )  # fmt: skip
    learn(row, folder, cohort, settings)
    row.stage(
        "Evaluate on patients never seen", "evaluate", cohort, folder / "evidence",
        *pairs(folder, "backbone", "backbone", ("SPAN", "DINO")),
        *pairs(folder, "model", "finding", ("SPAN", "DINO", "scratch")),
        "--prior", f"static={folder / 'prior_static'}",
        "--prior", f"registered={folder / 'prior_registered'}",
        result=folder / "evidence" / "report.html",
    )  # fmt: skip
    print_summary(folder, None, row.cost())


def pairs(folder: Path, option: str, prefix: str, names: tuple[str, ...]) -> list[str]:
    """`--option NAME=folder/prefix_name` for every name."""
    return [
        part
        for name in names
        for part in (f"--{option}", f"{name}={folder / f'{prefix}_{name.lower()}'}")
    ]


def learn(row: Row, folder: Path, cohort: Path, settings: RealRowSettings) -> None:
    """Backbones with the same views, steps and batches; classifiers with the same settings."""
    for recipe in ("span", "dino"):
        backbone = folder / f"backbone_{recipe}"
        prior = ["--prior", folder / "prior_registered"] if recipe == "span" else []
        chosen = [s for s in settings.pretrain if recipe == "span" or not s.startswith("span.")]
        row.stage(
            f"Pretrain {recipe.upper()}", "pretrain", cohort, backbone, "--recipe", recipe,
            *prior, *overrides(chosen), result=backbone / "config.json",
        )  # fmt: skip
    for start in ("span", "dino", "scratch"):
        model = folder / f"finding_{start}"
        origin = [] if start == "scratch" else ["--backbone", folder / f"backbone_{start}"]
        row.stage(
            f"Fine-tune {settings.label}, {start}", "finetune", cohort, model, "--task",
            "classification", "--labels", settings.label, *origin,
            *overrides(settings.classification), result=model / "config.json",
        )  # fmt: skip
