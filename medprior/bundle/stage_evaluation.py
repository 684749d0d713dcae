"""The evaluate stage for bundles: `medprior evaluate` with its printed output, from mappings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medprior.evaluate.evaluate import EvaluationMetrics, NamedPaths, evaluate_cohort
from medprior.evaluate.report.summary import format_headlines
from medprior.evaluate.settings import EvaluateSettings
from medprior.provenance import read_config


def run_evaluation(
    cohort: Path | str,
    out: Path | str,
    backbone: NamedPaths = None,
    model: NamedPaths = None,
    prior: NamedPaths = None,
    split: str = "test",
    settings: dict[str, Any] | None = None,
) -> EvaluationMetrics:
    """Evaluate, then print the headline numbers and the path of the report.

    The arguments are those of `medprior.evaluate.evaluate.evaluate_cohort`, except that `settings` is
    a mapping of `EvaluateSettings`.

    Raises:
        MedpriorError: an input is missing, or the split cannot be evaluated.
    """
    checked = EvaluateSettings.from_values(settings or {}, "evaluation_settings")
    metrics = evaluate_cohort(cohort, out, backbone, model, prior, split, checked)
    print(format_headlines(metrics, read_config(Path(out), "evaluate")["primary"]))
    print(f"report: {Path(out) / 'report.html'}")
    return metrics
