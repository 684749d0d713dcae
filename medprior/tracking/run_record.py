"""Logs a finished result folder to its MLflow run: settings, metrics, cohort digest and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medprior.observer import Observer
from medprior.provenance import result_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

LOGGED_FILES = ("config.json", "metrics.csv", "metrics.json", "report.html", "summary.json", "prior.json")
FIGURE_FOLDERS = ("", "figures")
LOGGED_SUFFIXES = {".png", ".json", ".csv", ".html", ".md"}
# Images of single patients and lists of files are never logged.
PRIVATE_FILES = {"quarantine.csv", "sources.csv", "image.png", "annotation.json"}
DATASET_CONTEXTS = {"pretrain": "training", "finetune": "training", "evaluate": "evaluation"}


class StageRun(Observer, Protocol):
    """An observer with an MLflow run of its own."""

    client: MlflowClient
    run_id: str

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""

    def flush(self) -> None:
        """Write the queued metrics."""

    def attempt(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
        """Call the store; True if the write succeeded."""


def is_shareable(path: Path) -> bool:
    """True for a figure or a table of results; False for pixels, weights and private files."""
    private = path.name in PRIVATE_FILES or any(part.endswith(".private") for part in path.parts)
    return path.is_file() and path.suffix in LOGGED_SUFFIXES and not private


def log_result_folder(observer: StageRun, stage: str, result: Path) -> None:
    """Log a finished result folder: settings, final numbers, digests and files."""
    config = result / "config.json"
    if not config.is_file():
        return
    facts: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    observer.params({**(facts.get("settings") or {}), "seed": facts.get("seed")})
    observer.metrics(load_final_metrics(result), 0)
    observer.flush()
    observer.tags({"medprior.result_digest": result_digest(result)})
    digest = result_digest(result) if stage == "ingest" else facts.get("inputs", {}).get("cohort")
    if digest:
        log_cohort(observer, stage, result, str(digest))
    for path in list_logged_files(result):
        observer.artifact(path)


def list_logged_files(result: Path) -> list[Path]:
    """The files of a result folder that are logged."""
    files = [result / name for name in LOGGED_FILES]
    for folder in FIGURE_FOLDERS:
        files += sorted((result / folder).glob("*.png"))
    return [path for path in files if is_shareable(path)]


def load_final_metrics(result: Path) -> dict[str, float]:
    """The values of `metrics.json` (`name`, and `name.lo`, `name.hi` where it has an interval)."""
    path = result / "metrics.json"
    if not path.is_file():
        return {}
    numbers: dict[str, float] = {}
    for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
        if isinstance(entry, int | float):
            numbers[name] = float(entry)
        elif isinstance(entry, Mapping) and isinstance(entry.get("value"), int | float):
            numbers[name] = float(entry["value"])
            for end, value in zip(("lo", "hi"), entry.get("ci95") or (), strict=False):
                if isinstance(value, int | float):
                    numbers[f"{name}.{end}"] = float(value)
    return numbers


def log_cohort(observer: StageRun, stage: str, result: Path, digest: str) -> None:
    """Log the cohort that a stage read or wrote as the run's dataset, by its digest only."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    observer.tags({"medprior.cohort_digest": digest})
    name = result.name if stage == "ingest" else "cohort"
    source = json.dumps({"tags": {"mlflow.source.name": "medprior ingest"}})
    # MLflow keeps 36 characters of a digest; the tag above holds all of it.
    dataset = Dataset(name=name, digest=digest[:32], source_type="code", source=source)
    tag = InputTag("mlflow.data.context", DATASET_CONTEXTS.get(stage, stage))
    inputs = [DatasetInput(dataset=dataset, tags=[tag])]
    observer.attempt(observer.client.log_inputs, observer.run_id, inputs)
