"""Logs a finished result folder to its MLflow run: settings, metrics, cohort digest and files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medprior.metrics.headlines import select_headline_metrics
from medprior.observer import Observer
from medprior.provenance import result_digest
from medprior.tracking.run_links import DIGEST_TAG, build_link_tags, number_inputs
from medprior.tracking.run_summary import DESCRIPTION_TAG, choose_leading_chart, format_run_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient

LOGGED_FILES = ("config.json", "metrics.csv", "metrics.json", "report.html", "summary.json", "prior.json")
FIGURE_FOLDERS = ("", "figures")
# Logged without being asked: tables of results and charts of numbers. `labels.csv` is that of phantoms.
TABLES = {
    "config.json", "metrics.csv", "metrics.json", "summary.json", "prior.json", "cost.json", "gate.json", "table.md",
    "features.md", "low_data.md", "labels.csv",
}  # fmt: skip
CHARTS = re.compile(
    r"(training(_\w+)?|roc|precision_recall|reliability|bland_altman|pixel_ap|low_data|localisation|external_\w+"
    r"|finetuned_attention)\.png"
)
# Logged with `--log-pictures`: figures and reports, which show radiographs of patients.
PICTURE_SUFFIXES = {".png", ".html"}
# Images of single patients and lists of files are never logged.
PRIVATE_FILES = {"quarantine.csv", "sources.csv", "image.png", "annotation.json"}
DATASET_CONTEXTS = {"pretrain": "training", "finetune": "training", "evaluate": "evaluation"}


class StageRun(Observer, Protocol):
    """An observer with an MLflow run of its own."""

    client: MlflowClient
    run_id: str
    pictures: bool

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""

    def flush(self) -> None:
        """Write the queued metrics."""

    def attempt(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> bool:
        """Call the store; True if the write succeeded."""


def is_shareable(path: Path, pictures: bool = False) -> bool:
    """Whether a file is logged: a known table or chart; with `pictures` also a figure or report with radiographs.

    Never pixel stores, weights, unknown tables and private files.
    """
    if path.name in PRIVATE_FILES or any(part.endswith(".private") for part in path.parts) or not path.is_file():
        return False
    known = path.name in TABLES or CHARTS.fullmatch(path.name) is not None
    return known or (pictures and path.suffix in PICTURE_SUFFIXES)


def log_result_folder(observer: StageRun, stage: str, result: Path) -> None:
    """Log a finished result folder: settings, headline numbers, digests and files with all other numbers."""
    config = result / "config.json"
    if not config.is_file():
        return
    facts: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
    observer.params({**(facts.get("settings") or {}), "seed": facts.get("seed")})
    values = load_final_metrics(result)
    headlines = select_headline_metrics(values)
    observer.metrics(headlines, 0)
    observer.flush()
    observer.tags({DIGEST_TAG: result_digest(result)})
    inputs = number_inputs(facts.get("inputs") or {})
    observer.attempt(link_inputs, observer, inputs)
    digest = result_digest(result) if stage == "ingest" else facts.get("inputs", {}).get("cohort")
    if digest:
        log_cohort(observer, stage, str(digest))
    files = list_logged_files(result, observer.pictures)
    for path in files:
        observer.artifact(path)
    chart = choose_leading_chart([path.name for path in files])
    summary = format_run_summary(f"medprior {stage}", values, inputs, observer.run_id, chart)
    observer.tags({DESCRIPTION_TAG: summary})


def link_inputs(observer: StageRun, inputs: Mapping[str, str]) -> None:
    """Link a run to the runs that made its inputs."""
    observer.tags(build_link_tags(observer.client, observer.run_id, inputs))


def list_logged_files(result: Path, pictures: bool = False) -> list[Path]:
    """The files of a result folder that are logged, as `is_shareable` decides."""
    files = [result / name for name in LOGGED_FILES]
    for folder in FIGURE_FOLDERS:
        files += sorted((result / folder).glob("*.png"))
    return [path for path in files if is_shareable(path, pictures)]


def load_final_metrics(result: Path) -> dict[str, float]:
    """The numbers of `metrics.json`; see `flatten_metric_entries`."""
    path = result / "metrics.json"
    if not path.is_file():
        return {}
    return flatten_metric_entries(json.loads(path.read_text(encoding="utf-8")))


def flatten_metric_entries(entries: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of metric entries: `name`, and `name.lo`, `name.hi` where it has an interval."""
    numbers: dict[str, float] = {}
    for name, entry in entries.items():
        if isinstance(entry, int | float):
            numbers[name] = float(entry)
        elif isinstance(entry, Mapping) and isinstance(entry.get("value"), int | float):
            numbers[name] = float(entry["value"])
            for end, value in zip(("lo", "hi"), entry.get("ci95") or (), strict=False):
                if isinstance(value, int | float):
                    numbers[f"{name}.{end}"] = float(value)
    return numbers


def log_cohort(observer: StageRun, stage: str, digest: str) -> None:
    """Log the cohort that a stage read or wrote as the run's dataset, by its digest only."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    observer.tags({"medprior.cohort_digest": digest})
    source = json.dumps({"tags": {"mlflow.source.name": "medprior ingest"}})
    # MLflow keeps 36 characters of a digest; the tag above holds all of it.
    dataset = Dataset(name="cohort", digest=digest[:32], source_type="code", source=source)
    tag = InputTag("mlflow.data.context", DATASET_CONTEXTS.get(stage, stage))
    inputs = [DatasetInput(dataset=dataset, tags=[tag])]
    observer.attempt(observer.client.log_inputs, observer.run_id, inputs)
