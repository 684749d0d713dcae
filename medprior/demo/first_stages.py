"""Stages that the demonstrations share: ingest of data sets, and the one annotated radiograph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medprior.demo.stage_pipeline import StagePipeline
from medprior.errors import InputMissing


def require_data_sets(option: str, data: Path, names: Sequence[str]) -> None:
    """Raise InputMissing unless the folder that `option` names holds a folder for each data set."""
    for name in names:
        if not (data / name).is_dir():
            raise InputMissing(
                "no such folder", where=f"{option} {data}", expected=" and ".join(names), found=f"no {name}/",
                fix="name the folder that holds the public data sets",
            )  # fmt: skip


def ingest_data_set(
    pipeline: StagePipeline, name: str, data: Path, cohort: Path, store_size: int, *options: object
) -> None:
    """Add the data set in `data / name` to the cohort."""
    pipeline.run_stage(
        f"Ingest {name}", "ingest", data / name, cohort, "--dataset", name, "--store-size", store_size, *options,
        result=cohort / "config.json",
    )  # fmt: skip


def annotate_typical_radiograph(pipeline: StagePipeline, folder: Path, cohort: Path) -> Path:
    """Annotate one radiograph of the cohort with its own masks; the annotation's folder below `folder`."""
    annotation = folder / "annotation"
    pipeline.run_stage(
        "One annotated radiograph (the most typical of the training split)", "annotate",
        annotation, "--cohort", cohort, "--image-id", "auto", result=annotation / "annotation.json",
    )  # fmt: skip
    return annotation
