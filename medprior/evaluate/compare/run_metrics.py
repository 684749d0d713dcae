"""Estimates of one run of a comparison from its per-image scores."""

from __future__ import annotations

import numpy as np

from medprior.evaluate.probes.cross_validation import estimate_crossval_aucs
from medprior.evaluate.study import EvaluationStudy
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Estimate, average_estimates, estimate_auc_and_ap, estimate_mean
from medprior.metrics.differences import Estimates

RunScores = dict[str, Floats]
SINGLE_VALUE_KEYS = {"teacher_entropy": "features.teacher_entropy", "loca_accuracy": "features.loca_accuracy"}


def estimate_run_metrics(scores: RunScores, study: EvaluationStudy) -> Estimates:
    """Estimates of one run from its scores; empty for a failed run."""
    constant = np.ones(study.settings.resamples)
    result = estimate_attention_metrics("attention", scores, study)
    result |= estimate_attention_metrics("finetuned_attention", select_scores(scores, "tuned."), study)
    result |= estimate_crossval_aucs(scores, study)
    for name, values in scores.items():
        key = SINGLE_VALUE_KEYS.get(name, name if name.startswith("cost.") else "")
        if key:
            result[key] = Estimate(float(values[0]), constant * float(values[0]), 0)
    for budget in sorted({key.partition(".")[0] for key in scores if is_budget_key(key)}):
        low_data, full = estimate_budget_metrics(select_scores(scores, f"{budget}."), scores, study)
        result |= {f"low_data.{budget}.{name}": value for name, value in low_data.items()}
        if budget == "100pct":
            result |= full
    return result


def is_budget_key(key: str) -> bool:
    """Whether `key` starts with a label budget: a share of the training patients, or masks."""
    budget = key.partition(".")[0]
    return budget.endswith("pct") or budget.startswith("masks_")


def estimate_attention_metrics(prefix: str, scores: RunScores, study: EvaluationStudy) -> Estimates:
    """Pixel-AP per target and their mean, and the spatial entropy of the free heads."""
    result = estimate_means(f"{prefix}.pixel_ap", select_scores(scores, "ap."), study)
    if "spatial_entropy" in scores:
        result[f"{prefix}.spatial_entropy"] = estimate_mean(scores["spatial_entropy"], study.draws)
    return result


def estimate_budget_metrics(
    budget_scores: RunScores, scores: RunScores, study: EvaluationStudy
) -> tuple[Estimates, Estimates]:
    """Estimates of one budget: those of the low-data tables, and all under full keys."""
    probes = {key: values for key, values in budget_scores.items() if "." not in key}
    low_data = {name: average_draw_aucs(scores["truth"], values, study) for name, values in probes.items()}
    full = {f"features.{name}": estimates for name, estimates in low_data.items()}
    estimates = estimate_finding_aucs(select_scores(budget_scores, "classification."), scores, study)
    estimates |= estimate_means("segmentation.dice", select_scores(budget_scores, "segmentation."), study)
    for key, low_data_key in (("classification.mauc", "finetuned_mauc"),
                       ("segmentation.dice.mean", "finetuned_dice")):  # fmt: skip
        if key in estimates:
            low_data[low_data_key] = estimates[key]
    return low_data, full | estimates


def average_draw_aucs(truth: Floats, scores: Floats, study: EvaluationStudy) -> Estimate:
    """The mean AUC over labels, and over label draws where scores are [draws, n, C] instead of [n, C]."""
    draws = scores.reshape(-1, *truth.shape)
    aucs = [auc for values in draws for auc in estimate_auc_and_ap(truth, values, study.draws)[0]]
    return average_estimates(aucs, len(study.part))


def select_scores(scores: RunScores, prefix: str) -> RunScores:
    """The scores whose key starts with `prefix`, with the prefix removed."""
    return {key.removeprefix(prefix): values for key, values in scores.items() if key.startswith(prefix)}


def estimate_means(prefix: str, scores: RunScores, study: EvaluationStudy) -> Estimates:
    """Means over images under `<prefix>.<name>`, and `<prefix>.mean` over the names."""
    estimates = {f"{prefix}.{name}": estimate_mean(values, study.draws) for name, values in scores.items()}
    if estimates:
        estimates[f"{prefix}.mean"] = average_estimates(list(estimates.values()), len(study.part))
    return estimates


def estimate_finding_aucs(probability: RunScores, scores: RunScores, study: EvaluationStudy) -> Estimates:
    """`classification.auc.<label>`, `.mauc` and `.map` of a fine-tuned model."""
    if not probability:
        return {}
    truth = np.stack([scores[f"truth.{label}"] for label in probability], axis=1, dtype=np.float64)
    values = np.stack(list(probability.values()), axis=1, dtype=np.float64)
    aucs, precisions = estimate_auc_and_ap(truth, values, study.draws)
    result = {f"classification.auc.{label}": auc for label, auc in zip(probability, aucs, strict=True)}
    result["classification.mauc"] = average_estimates(aucs, len(study.part))
    result["classification.map"] = average_estimates(precisions, len(study.part))
    return result
