"""Evaluation of backbones, models and priors on one split, with all result files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.cohort import Cohort
from medprior.errors import ConfigError
from medprior.evaluate.inputs import ALL_SPLITS, Inputs, NamedPath, check_not_trained_on, load_inputs
from medprior.evaluate.localisation.boxes import load_finding_boxes
from medprior.evaluate.sections.attention import evaluate_attention
from medprior.evaluate.sections.external import evaluate_external_cohort
from medprior.evaluate.sections.external_cohorts import ExternalCohort, open_external_cohorts
from medprior.evaluate.sections.findings import evaluate_localisation
from medprior.evaluate.sections.models import evaluate_classification, evaluate_segmentation
from medprior.evaluate.sections.probes import evaluate_probes
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.metrics.bootstrap import has_finite_value
from medprior.metrics.headlines import select_headline_metrics
from medprior.observer import NullObserver, Observer
from medprior.provenance import atomic_write, write_config, write_json

NamedPaths = NamedPath | Iterable[NamedPath] | None
EvaluationMetrics = dict[str, dict[str, Any]]


def evaluate_cohort(
    cohort: Path | str | Cohort,
    out: Path | str,
    backbone: NamedPaths = None,
    model: NamedPaths = None,
    prior: NamedPaths = None,
    split: str = "test",
    settings: EvaluateSettings | None = None,
    observer: Observer | None = None,
    boxes: Path | None = None,
    external: NamedPaths = None,
) -> EvaluationMetrics:
    """Evaluate backbones, models and priors on one split and write the evidence folder.

    Args:
        cohort: a cohort or its folder.
        out: the evidence folder: `predictions.parquet`, `metrics.json`, `figures/`, `report.html`.
        backbone: one or several of PATH, "NAME=PATH" or (NAME, PATH); the first is the primary one,
            the others are its baselines.
        model: likewise; the first of each task is primary.
        prior: likewise; static and fitted priors are evaluated as predictors.
        split: `test`, `val`, `train`, or `all` for a cohort that nothing was trained on.
        settings: defaults if None.
        observer: records settings, numbers and files.
        boxes: table of boxes of findings besides the cohort's own; see `boxes.load_finding_boxes`.
        external: other cohorts, PATH or NAME=PATH, evaluated without training or choosing on them.

    Returns:
        The content of `metrics.json`: flat, dotted key -> `{"value", "ci95", "n", ...}`.

    Raises:
        MedpriorError: an input is missing, or the split cannot be evaluated.
    """
    settings, observer = settings or EvaluateSettings(), observer or NullObserver()
    cohort = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    kinds = {"backbone": backbone, "model": model, "prior": prior}
    inputs = Inputs(**{f"{kind}s": load_inputs(entries, kind, settings.device) for kind, entries in kinds.items()})
    if not (inputs.backbones or inputs.models or inputs.priors):
        raise ConfigError(
            "nothing to evaluate",
            where="evaluate",
            fix="give at least one of --backbone, --model and --prior",
        )
    if split == ALL_SPLITS:
        check_not_trained_on(cohort, inputs)
    external_cohorts = open_external_cohorts(external, cohort, settings)
    study = EvaluationStudy.of(cohort, split, inputs.find_excluded_images(), settings)
    study = replace(study, boxes=load_finding_boxes(cohort, boxes, settings.box_units))
    observer.params(settings.model_dump(mode="json") | {"split": split})
    sections = evaluate_sections(study, inputs)
    for external_cohort in external_cohorts:
        sections[external_cohort.prefix] = evaluate_external_cohort(study, inputs, external_cohort)
    return write_evaluation_folder(Path(out), study, inputs, sections, observer, external_cohorts)


def evaluate_sections(study: EvaluationStudy, inputs: Inputs) -> dict[str, Section]:
    """Every section that has inputs, by name, in the order of the report."""
    tasks = {
        task: [model for model in inputs.models if model.item.task == task]
        for task in ("classification", "segmentation")
    }
    sections: dict[str, Section] = {"data": Section(study.summarise_data())}
    if inputs.backbones or inputs.priors:
        sections["attention"] = evaluate_attention(study, inputs)
    if tasks["classification"]:
        sections["classification"] = evaluate_classification(study, tasks["classification"])
        sections["localisation"] = evaluate_localisation(study, inputs, tasks["classification"])
    if tasks["segmentation"]:
        sections["segmentation"] = evaluate_segmentation(study, tasks["segmentation"])
    if inputs.backbones:
        sections["features"] = evaluate_probes(study, inputs.backbones)
    return sections


def write_evaluation_folder(
    out: Path,
    study: EvaluationStudy,
    inputs: Inputs,
    sections: dict[str, Section],
    observer: Observer,
    external_cohorts: Sequence[ExternalCohort] = (),
) -> EvaluationMetrics:
    """Write every file of the evidence folder, `config.json` last."""
    from medprior.evaluate.report.figures import plot_evaluation_figures
    from medprior.evaluate.report.html import write_evaluation_report
    from medprior.evaluate.report.table_files import write_table_files
    from medprior.evaluate.report.tables import build_evaluation_tables

    estimates = {k: e for section in sections.values() for k, e in section.estimates.items()}
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    with atomic_write(out / "predictions.parquet") as temporary:
        build_predictions_table(study, sections).to_parquet(temporary, index=False)
    figures = plot_evaluation_figures(out / "figures", study, inputs, sections)
    facts = {
        "split": study.split,
        "cohort_digest": study.cohort.digest,
        "evaluated_digest": study.part.digest,
        "excluded": len(study.excluded),
        "skipped": [text for section in sections.values() for text in section.skipped],
        "primary": list_primary_names(inputs),
    }
    files = ["metrics.json", "predictions.parquet", *(f"figures/{f.path.name}" for f in figures)]
    files += write_table_files(out, build_evaluation_tables(metrics, list_primary_names(inputs)))
    report = write_evaluation_report(out / "report.html", metrics, figures, facts, study, inputs)
    numbers = {key: float(record["value"]) for key, record in metrics.items() if has_finite_value(record)}
    observer.metrics(select_headline_metrics(numbers), step=0)
    for path in [*(out / name for name in files), report]:
        observer.artifact(path)
    write_config(
        out,
        "evaluate",
        study.settings.model_dump(mode="json"),
        inputs={"cohort": study.cohort.path, **inputs.folders}
        | {external_cohort.prefix: external_cohort.cohort.path for external_cohort in external_cohorts},
        outputs=(*files, report.name),
        seed=study.settings.seed,
        facts=facts,
    )
    return metrics


def build_predictions_table(study: EvaluationStudy, sections: dict[str, Section]) -> pd.DataFrame:
    """One row per evaluated image: ids, split, and the columns of every section."""
    frame = study.part.manifest[["image_id", "patient_id", "split"]].copy()
    columns = {k: v for section in sections.values() for k, v in section.columns.items()}
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def list_primary_names(inputs: Inputs) -> dict[str, str]:
    """Name of the primary result of each kind, whose keys have no prefix."""
    names = {"attention": [b.name for b in inputs.backbones]}
    for task in ("classification", "segmentation"):
        names[task] = [m.name for m in inputs.models if m.item.task == task]
    return {kind: sources[0] for kind, sources in names.items() if sources}
