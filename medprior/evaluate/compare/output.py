"""Every file of a comparison: numbers, tables, figures, report, and `config.json` last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medprior.evaluate.compare.context import ComparisonContext
from medprior.evaluate.compare.html import write_compare_report
from medprior.evaluate.compare.low_data import format_low_data_tables
from medprior.evaluate.compare.low_data_figure import plot_low_data
from medprior.evaluate.compare.markdown import build_arm_table, format_markdown_table
from medprior.evaluate.compare.probe_table import format_probe_tables
from medprior.evaluate.report.interval_figure import plot_intervals
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import Record, ReportMetrics, group_attention_records, list_key_suffixes
from medprior.metrics.bootstrap import has_finite_value
from medprior.metrics.differences import Estimates
from medprior.observer import Observer
from medprior.provenance import atomic_write, write_config, write_json

WrittenMetrics = dict[str, dict[str, Any]]
RecordGroups = list[tuple[str, dict[str, Record]]]


def write_comparison(
    out: Path, about: ComparisonContext, estimates: Estimates, observer: Observer, whole: bool
) -> WrittenMetrics:
    """Write numbers, tables, figures and report; `config.json` last, and only of a `whole` one."""
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    texts = {
        "table.md": format_markdown_table(build_arm_table(metrics, about.recipes)),
        "features.md": format_probe_tables(metrics, about.recipes),
        "low_data.md": format_low_data_tables(metrics, about.recipes),
    }
    texts = {name: text for name, text in texts.items() if text}
    for name, text in texts.items():
        with atomic_write(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    figures = plot_comparison_figures(out, metrics, about.recipes)
    report = write_compare_report(out / "report.html", metrics, figures, about)
    outputs = ("metrics.json", *texts, *(f.path.name for f in figures), report.name)
    observer.metrics({k: r["value"] for k, r in metrics.items() if has_finite_value(r)}, 0)
    for name in outputs:
        observer.artifact(out / name)
    if whole:
        values = about.settings.model_dump(mode="json")
        facts = {"recipes": list(about.recipes), "primary": {"attention": about.recipes[0]}}
        write_config(out, "compare", values, inputs=about.inputs, outputs=outputs, facts=facts)
    return metrics


def order_by_arm(groups: RecordGroups, recipes: Sequence[str]) -> RecordGroups:
    """Groups with the arms as they were named, what is no arm after them."""
    return [
        (name, {arm: rows[arm] for arm in dict.fromkeys([*recipes, *rows]) if arm in rows}) for name, rows in groups
    ]


def plot_comparison_figures(out: Path, metrics: ReportMetrics, recipes: Sequence[str]) -> list[Figure]:
    """The figures there are numbers for, in the order of the report."""
    note = "Mean over seeds, with 95 % intervals over resampled patients and seeds. "
    priors = any(key.split(".")[0] in ("prior", "registered_prior") for key in metrics)
    baseline = "The priors as predictors are the baselines." if priors else ""
    kinds = {
        "attention": ("Attention of backbones", baseline),
        "finetuned_attention": (
            "Attention after fine-tuning",
            f"Of classifiers from all labels; arms from scratch take their best heads on validation images. {baseline}",
        ),
    }
    found = [
        plot_intervals(
            out / f"{kind}.png", title, "pixel-AP",
            order_by_arm(group_attention_records(metrics, recipes[0], kind), recipes), note + caption,
        )
        for kind, (title, caption) in kinds.items()
        if list_key_suffixes(metrics, f"{kind}.pixel_ap")
    ]  # fmt: skip
    return [f for f in (plot_low_data(out / "low_data.png", metrics, recipes), *found) if f]
