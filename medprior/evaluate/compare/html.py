"""HTML report of a comparison: arms, data, differences with intervals, and cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.evaluate.compare.tables import build_comparison_tables, list_arm_verdicts
from medprior.evaluate.report.html import (
    embed_figures,
    format_today,
    list_cohort_characteristics,
    list_dataset_names,
    list_provenance,
    render_template,
)
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import ReportMetrics

if TYPE_CHECKING:
    from medprior.evaluate.compare.context import ComparisonContext


def write_compare_report(
    path: Path, metrics: ReportMetrics, figures: Sequence[Figure], context: ComparisonContext
) -> Path:
    """Render the report; every number in it is a cell of `metrics`.

    Args:
        path: where to write.
        metrics: content of `metrics.json`.
        figures: plotted figures, embedded in this order.
        context: arms, data, settings and inputs.
    """
    study, recipes = context.study, list(context.recipes)
    tables = build_comparison_tables(metrics, recipes)
    return render_template(
        path,
        "comparison.html",
        metrics=metrics,
        recipes=recipes,
        seeds=context.settings.seeds,
        resamples=study.settings.resamples,
        today=format_today(),
        datasets=list_dataset_names(study),
        composition=list_cohort_characteristics(metrics),
        excluded=len(study.excluded),
        verdicts=list_arm_verdicts(metrics, recipes),
        tables=tables,
        first_tables=len(tables),
        figures=embed_figures(figures),
        command=format_compare_command(context),
        provenance=list_provenance(study, context.inputs),
        settings=json.dumps(list_changed_settings(context), indent=2, sort_keys=True),
    )


def format_compare_command(context: ComparisonContext) -> str:
    """The command of this comparison, with roles in place of paths."""
    words = ["medprior compare COHORT EVIDENCE --recipes", *context.recipes]
    roles = [role for role in context.inputs if role.startswith("prior.")]
    words += ["--prior PRIOR"] if len(roles) == 1 else []
    words += ["--config settings.json"] if list_changed_settings(context) else []
    return " ".join(words)


def list_changed_settings(context: ComparisonContext) -> dict[str, object]:
    """Settings that differ from their defaults; priors of arms as folder names."""
    values = context.settings.model_dump(mode="json", exclude_defaults=True)
    for arm in values.get("arms", {}).values():
        if arm.get("prior"):
            arm["prior"] = Path(arm["prior"]).name
    return values
