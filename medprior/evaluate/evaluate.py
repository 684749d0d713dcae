"""`evaluate`: everything that is known of backbones, models and priors on one split, on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from medprior.cohort import Cohort
from medprior.errors import ConfigError
from medprior.evaluate.inputs import EVERY, Entry, Inputs, check_strangers, loaded
from medprior.evaluate.localisation.boxes import boxes_of
from medprior.evaluate.sections.attention import attention_section
from medprior.evaluate.sections.external import external_section
from medprior.evaluate.sections.external_cohorts import Away, away_cohorts
from medprior.evaluate.sections.findings import finding_section
from medprior.evaluate.sections.models import classification_section, segmentation_section
from medprior.evaluate.sections.probes import probe_section
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import Section, Study
from medprior.metrics.bootstrap import usable
from medprior.observer import Observer, Silent
from medprior.provenance import atomic, write_config, write_json

Entries = Entry | Iterable[Entry] | None
Metrics = dict[str, dict[str, Any]]


def evaluate(
    cohort: Path | str | Cohort,
    out: Path | str,
    backbone: Entries = None,
    model: Entries = None,
    prior: Entries = None,
    split: str = "test",
    settings: EvaluateSettings | None = None,
    observer: Observer | None = None,
    boxes: Path | None = None,
    external: Entries = None,
) -> Metrics:
    """Judge backbones, models and priors on one split and write `evidence/`.

    Args:
        cohort: a cohort or its folder.
        out: the evidence folder: `predictions.parquet`, `metrics.json`, `figures/`, `report.html`.
        backbone: one or several of PATH, "NAME=PATH" or (NAME, PATH); the first is the primary one,
            the others are baselines it is compared with.
        model: likewise; the first of each task is primary.
        prior: likewise; static and fitted priors as predictors of their own.
        split: `test`, `val`, `train`, or `all` for a cohort that nothing was trained on.
        settings: defaults if None.
        observer: told of settings, numbers and files.
        boxes: a table of boxes of findings besides the cohort's own; see `boxes.boxes_of`.
        external: other cohorts of PATH or NAME=PATH, on which the same is judged without training.

    Returns:
        The content of `metrics.json`: flat, dotted key -> `{"value", "ci95", "n", ...}`.

    Raises:
        MedpriorError: something is missing, or the split cannot be judged.
    """
    settings, observer = settings or EvaluateSettings(), observer or Silent()
    cohort = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    kinds = {"backbone": backbone, "model": model, "prior": prior}
    inputs = Inputs(**{f"{kind}s": loaded(entries, kind) for kind, entries in kinds.items()})
    if not (inputs.backbones or inputs.models or inputs.priors):
        raise ConfigError(
            "nothing to evaluate",
            where="evaluate",
            fix="give at least one of --backbone, --model and --prior",
        )
    if split == EVERY:
        check_strangers(cohort, inputs)
    aways = away_cohorts(external, cohort, settings)
    study = Study.of(cohort, split, inputs.excluded(), settings)
    study = replace(study, boxes=boxes_of(cohort, boxes, settings.box_units))
    observer.params(settings.model_dump(mode="json") | {"split": split})
    sections = gathered(study, inputs)
    for away in aways:
        sections[away.prefix] = external_section(study, inputs, away)
    return written(Path(out), study, inputs, sections, observer, aways)


def gathered(study: Study, inputs: Inputs) -> dict[str, Section]:
    """Every section there is input for, by name, in the order of the report."""
    tasks = {
        task: [named for named in inputs.models if named.item.task == task]
        for task in ("classification", "segmentation")
    }
    sections: dict[str, Section] = {"data": Section(study.facts())}
    if inputs.backbones or inputs.priors:
        sections["attention"] = attention_section(study, inputs)
    if tasks["classification"]:
        sections["classification"] = classification_section(study, tasks["classification"])
        sections["localisation"] = finding_section(study, inputs, tasks["classification"])
    if tasks["segmentation"]:
        sections["segmentation"] = segmentation_section(study, tasks["segmentation"])
    if inputs.backbones:
        sections["features"] = probe_section(study, inputs.backbones)
    return sections


def written(
    out: Path,
    study: Study,
    inputs: Inputs,
    sections: dict[str, Section],
    observer: Observer,
    aways: Sequence[Away] = (),
) -> Metrics:
    """Write every file of `evidence/`, `config.json` last."""
    from medprior.evaluate.report.figures import draw_figures
    from medprior.evaluate.report.html import write_report

    estimates = {k: e for section in sections.values() for k, e in section.estimates.items()}
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    with atomic(out / "predictions.parquet") as temporary:
        predictions(study, sections).to_parquet(temporary, index=False)
    figures = draw_figures(out / "figures", study, inputs, sections)
    facts = {
        "split": study.split,
        "cohort_digest": study.cohort.digest,
        "evaluated_digest": study.part.digest,
        "excluded": len(study.excluded),
        "skipped": [text for section in sections.values() for text in section.skipped],
        "primary": primary_names(inputs),
    }
    files = ["metrics.json", "predictions.parquet", *(f"figures/{f.path.name}" for f in figures)]
    report = write_report(out / "report.html", metrics, figures, facts, study, inputs)
    numbers = {key: float(record["value"]) for key, record in metrics.items() if usable(record)}
    observer.metrics(numbers, step=0)
    for path in [*(out / name for name in files), report]:
        observer.artifact(path)
    write_config(
        out,
        "evaluate",
        study.settings.model_dump(mode="json"),
        inputs={"cohort": study.cohort.path, **inputs.folders}
        | {away.prefix: away.cohort.path for away in aways},
        outputs=(*files, report.name),
        seed=study.settings.seed,
        facts=facts,
    )
    return metrics


def predictions(study: Study, sections: dict[str, Section]) -> pd.DataFrame:
    """One row per judged image: ids, split, and the columns of every section."""
    frame = study.part.manifest[["image_id", "patient_id", "split"]].copy()
    columns = {k: v for section in sections.values() for k, v in section.columns.items()}
    return pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis=1)


def primary_names(inputs: Inputs) -> dict[str, str]:
    """Which result the plain keys belong to, by kind."""
    names = {"attention": [b.name for b in inputs.backbones]}
    for task in ("classification", "segmentation"):
        names[task] = [m.name for m in inputs.models if m.item.task == task]
    return {kind: found[0] for kind, found in names.items() if found}
