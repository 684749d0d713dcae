"""Output files of a comparison: metrics, tables, figures and report."""

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
from medprior.evaluate.compare.tables import build_comparison_tables
from medprior.evaluate.report.interval_figure import plot_intervals
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import Record, ReportMetrics, group_attention_records, list_key_suffixes
from medprior.evaluate.report.table_files import write_table_files
from medprior.metrics.bootstrap import has_finite_value
from medprior.metrics.differences import Estimates
from medprior.metrics.headlines import select_headline_metrics
from medprior.observer import Observer
from medprior.provenance import atomic_write, write_config, write_json

WrittenMetrics = dict[str, dict[str, Any]]
RecordGroups = list[tuple[str, dict[str, Record]]]


def write_comparison(
    out: Path, context: ComparisonContext, estimates: Estimates, observer: Observer, complete: bool
) -> WrittenMetrics:
    """Write metrics, tables, figures and report; `config.json` last, only if `complete`."""
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    texts = {
        "table.md": format_markdown_table(build_arm_table(metrics, context.recipes)),
        "features.md": format_probe_tables(metrics, context.recipes),
        "low_data.md": format_low_data_tables(metrics, context.recipes),
    }
    texts = {name: text for name, text in texts.items() if text}
    for name, text in texts.items():
        with atomic_write(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    figures = plot_comparison_figures(out, metrics, context.recipes)
    table_names = write_table_files(out, build_comparison_tables(metrics, context.recipes))
    report = write_compare_report(out / "report.html", metrics, figures, context)
    outputs = ("metrics.json", *texts, *table_names, *(f.path.name for f in figures), report.name)
    numbers = {key: float(record["value"]) for key, record in metrics.items() if has_finite_value(record)}
    observer.metrics(select_headline_metrics(numbers), 0)
    for name in outputs:
        observer.artifact(out / name)
    if complete:
        values = context.settings.model_dump(mode="json")
        facts = {"recipes": list(context.recipes), "primary": {"attention": context.recipes[0]}}
        write_config(out, "compare", values, inputs=context.inputs, outputs=outputs, facts=facts)
    return metrics


def order_by_arm(groups: RecordGroups, recipes: Sequence[str]) -> RecordGroups:
    """Groups with arms in the order of `recipes`, other sources after them."""
    return [
        (name, {arm: rows[arm] for arm in dict.fromkeys([*recipes, *rows]) if arm in rows}) for name, rows in groups
    ]


def plot_comparison_figures(out: Path, metrics: ReportMetrics, recipes: Sequence[str]) -> list[Figure]:
    """All figures that have numbers, in the order of the report."""
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
    figures = [
        plot_intervals(
            out / f"{kind}.png", title, "pixel-AP",
            order_by_arm(group_attention_records(metrics, recipes[0], kind), recipes), note + caption,
        )
        for kind, (title, caption) in kinds.items()
        if list_key_suffixes(metrics, f"{kind}.pixel_ap")
    ]  # fmt: skip
    return [f for f in (plot_low_data(out / "low_data.png", metrics, recipes), *figures) if f]
