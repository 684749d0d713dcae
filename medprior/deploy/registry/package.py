"""Packages a model for the registry: checked weights, JSON, code, pinned requirements and tags."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import medprior
from medprior.deploy.inference.finding_evidence import load_model_metrics
from medprior.deploy.inference.model_folder import compute_models_digest, read_checked_config
from medprior.deploy.registry import training_patients
from medprior.errors import MedpriorError
from medprior.finetune.model import MODEL_WEIGHTS_FILE
from medprior.provenance import find_git_commit, read_config


def stage_artifacts(model: Path, segmenter: Path | None, out: Path, cohorts: Sequence[Path] = ()) -> dict[str, Path]:
    """Copy the files that prediction needs, and no others, to `out`.

    With the cohorts of the training, fingerprints of the training patients are added for the gate.

    Returns:
        Artifact name (`model`, `segmenter`) -> folder with `config.json` and the weights.

    Raises:
        InputMissing: a model is not whole.
        MedpriorError: the segmenter is not a segmentation model, or the model is one too.
    """
    tasks = {"model": read_checked_config(model)["task"]}
    if segmenter is not None:
        tasks["segmenter"] = read_checked_config(segmenter)["task"]
        if tasks["segmenter"] != "segmentation" or tasks["model"] == "segmentation":
            raise MedpriorError(
                "a segmenter goes beside a classification model",
                where="--segmenter",
                expected="MODEL of task classification and --segmenter of task segmentation",
                found=f"{tasks['model']} and {tasks['segmenter']}",
            )
    folders = {"model": model, "segmenter": segmenter}
    for name in tasks:
        source, target = folders[name], out / name
        assert source is not None
        target.mkdir(parents=True)
        for file in ("config.json", MODEL_WEIGHTS_FILE):
            shutil.copyfile(source / file, target / file)
    staged = {name: out / name for name in tasks}
    training_patients.write_training_patients(staged, cohorts)
    return staged


def copy_package_code(out: Path) -> Path:
    """Copy the package without compiled files and pictures, for MLflow's `code_paths`."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.png")
    return Path(shutil.copytree(Path(medprior.__file__).parent, out / "medprior", ignore=ignore))


def list_pinned_requirements() -> list[str]:
    """The package's direct requirements, pinned to the installed versions."""
    requirements = []
    for line in metadata.requires("medprior") or []:
        name, _, marker = line.partition(";")
        if "extra" in marker:
            continue
        name = re.split(r"[<>=!~\[ ]", name.strip(), maxsplit=1)[0]
        # No index has a local version such as 2.14.1+cpu.
        requirements.append(f"{name}=={metadata.version(name).split('+')[0]}")
    return sorted(requirements, key=str.lower)


def build_version_tags(folders: dict[str, Path], evidence: Path | None) -> dict[str, str]:
    """Build the registry tags of a version: its origin and its metrics.

    Raises:
        InputMissing: the evidence belongs to another model.
    """
    config = read_config(folders["model"])
    tags = {
        "bundle_version": medprior.__version__,
        "git_commit": str(config.get("git_commit") or find_git_commit() or "unknown"),
        "cohort_digest": str((config.get("inputs") or {}).get("cohort", "unknown")),
        "task": str(config["task"]),
        "model_digest": compute_models_digest(folders),
    }
    return tags | (build_metric_tags(folders, evidence) if evidence else {})


def build_metric_tags(folders: dict[str, Path], evidence: Path) -> dict[str, str]:
    """Build tags with the metrics of these models, each the evidence's first model of its task.

    Raises:
        InputMissing: the model is not the evidence's first of its task.
    """
    metrics = load_model_metrics(folders, evidence)
    inputs = read_config(evidence, "evaluate").get("inputs") or {}
    tags = {"evaluated_on": str(inputs.get("cohort", "unknown"))}
    for name, entry in metrics.items():
        if isinstance(entry.get("value"), int | float):
            tags[f"metric.{name}"] = format_metric_interval(entry)
    return tags


def format_metric_interval(entry: dict[str, Any]) -> str:
    """A metric as `0.812 [0.774, 0.850] n=120`."""
    text = f"{entry['value']:.3f}"
    interval = list(entry.get("ci95") or ())
    if len(interval) == 2 and all(isinstance(bound, int | float) for bound in interval):
        text += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    return text + (f" n={entry['n']}" if "n" in entry else "")
