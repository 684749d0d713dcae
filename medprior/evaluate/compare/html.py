"""`report.html` of a comparison: what data, which arms, who is better, how sure, at what cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.evaluate.compare.tables import build_comparison_tables, list_arm_verdicts
from medprior.evaluate.report.html import compute_css_width, encode_data_uri, list_composition, render_template
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import ReportMetrics
from medprior.provenance import collect_versions, find_git_commit, result_digest

if TYPE_CHECKING:
    from medprior.evaluate.compare.context import ComparisonContext


def write_compare_report(
    path: Path, metrics: ReportMetrics, figures: Sequence[Figure], about: ComparisonContext
) -> Path:
    """Render the report; every number in it is a cell of `metrics`.

    Args:
        path: where to write.
        metrics: content of `metrics.json`.
        figures: drawn figures, embedded in this order.
        about: arms, data, settings and inputs.
    """
    study, recipes = about.study, list(about.recipes)
    return render_template(
        path,
        "comparison.html",
        metrics=metrics,
        recipes=recipes,
        seeds=about.settings.seeds,
        resamples=study.settings.resamples,
        datasets=sorted({str(name) for name in study.part.manifest["dataset"]} - {""}),
        composition=list_composition(metrics),
        excluded=len(study.excluded),
        verdicts=list_arm_verdicts(metrics, recipes),
        tables=build_comparison_tables(metrics, recipes),
        figures=[(encode_data_uri(f.path), compute_css_width(f.path), f.title, f.caption) for f in figures],
        command=format_compare_command(about),
        provenance=list_compare_provenance(about),
        settings=json.dumps(list_changed_settings(about), indent=2, sort_keys=True),
    )


def format_compare_command(about: ComparisonContext) -> str:
    """The command that gives this comparison, folders named by role instead of by path."""
    words = ["medprior compare COHORT EVIDENCE --recipes", *about.recipes]
    roles = [role for role in about.inputs if role.startswith("prior.")]
    words += ["--prior PRIOR"] if len(roles) == 1 else []
    words += ["--config settings.json"] if list_changed_settings(about) else []
    return " ".join(words)


def list_changed_settings(about: ComparisonContext) -> dict[str, object]:
    """Settings that differ from their defaults; priors of arms by their folder's name alone."""
    values = about.settings.model_dump(mode="json", exclude_defaults=True)
    for arm in values.get("arms", {}).values():
        if arm.get("prior"):
            arm["prior"] = Path(arm["prior"]).name
    return values


def list_compare_provenance(about: ComparisonContext) -> dict[str, str]:
    """What a reader needs to get the same numbers: digests, versions, commit."""
    rows = {
        "cohort digest": about.study.cohort.digest,
        "digest of the images judged": about.study.part.digest,
        "commit": find_git_commit() or "installed package",
        "versions": ", ".join(f"{name} {value}" for name, value in collect_versions().items()),
    }
    return rows | {name: result_digest(path) for name, path in about.inputs.items()}
