"""`report.html` of a comparison: what data, which arms, who is better, how sure, at what cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.evaluate.compare.tables import arm_verdicts, compare_tables
from medprior.evaluate.report.html import composition, embedded, rendered, shown_width
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import Metrics
from medprior.provenance import git_commit, result_digest, versions

if TYPE_CHECKING:
    from medprior.evaluate.compare.context import Compared


def write_compare_report(
    path: Path, metrics: Metrics, figures: Sequence[Figure], about: Compared
) -> Path:
    """Render the report; every number in it is a cell of `metrics`.

    Args:
        path: where to write.
        metrics: content of `metrics.json`.
        figures: drawn figures, embedded in this order.
        about: arms, data, settings and inputs.
    """
    study, recipes = about.study, list(about.recipes)
    return rendered(
        path,
        "comparison.html",
        metrics=metrics,
        recipes=recipes,
        seeds=about.settings.seeds,
        resamples=study.settings.resamples,
        datasets=sorted({str(name) for name in study.part.manifest["dataset"]} - {""}),
        composition=composition(metrics),
        excluded=len(study.excluded),
        verdicts=arm_verdicts(metrics, recipes),
        tables=compare_tables(metrics, recipes),
        figures=[(embedded(f.path), shown_width(f.path), f.title, f.caption) for f in figures],
        command=command_line(about),
        provenance=provenance_rows(about),
        settings=json.dumps(written_settings(about), indent=2, sort_keys=True),
    )


def command_line(about: Compared) -> str:
    """The command that gives this comparison, folders named by role instead of by path."""
    words = ["medprior compare COHORT EVIDENCE --recipes", *about.recipes]
    roles = [role for role in about.inputs if role.startswith("prior.")]
    words += ["--prior PRIOR"] if len(roles) == 1 else []
    words += ["--config settings.json"] if written_settings(about) else []
    return " ".join(words)


def written_settings(about: Compared) -> dict[str, object]:
    """Settings that differ from their defaults; priors of arms by their folder's name alone."""
    values = about.settings.model_dump(mode="json", exclude_defaults=True)
    for arm in values.get("arms", {}).values():
        if arm.get("prior"):
            arm["prior"] = Path(arm["prior"]).name
    return values


def provenance_rows(about: Compared) -> dict[str, str]:
    """What a reader needs to get the same numbers: digests, versions, commit."""
    rows = {
        "cohort digest": about.study.cohort.digest,
        "digest of the images judged": about.study.part.digest,
        "commit": git_commit() or "installed package",
        "versions": ", ".join(f"{name} {value}" for name, value in versions().items()),
    }
    return rows | {name: result_digest(path) for name, path in about.inputs.items()}
