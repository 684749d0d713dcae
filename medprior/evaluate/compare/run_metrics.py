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
    """Estimates of one run from its scores; nothing from a lost one."""
    same = np.ones(study.settings.resamples)
    result = estimate_attention_metrics("attention", scores, study)
    result |= estimate_attention_metrics("finetuned_attention", select_scores(scores, "tuned."), study)
    result |= estimate_crossval_aucs(scores, study)
    for name, values in scores.items():
        key = SINGLE_VALUE_KEYS.get(name, name if name.startswith("cost.") else "")
        if key:
            result[key] = Estimate(float(values[0]), same * float(values[0]), 0)
    for part in sorted({key.partition(".")[0] for key in scores if is_budget_key(key)}):
        low, whole = estimate_budget_metrics(select_scores(scores, f"{part}."), scores, study)
        result |= {f"low_data.{part}.{name}": value for name, value in low.items()}
        if part == "100pct":
            result |= whole
    return result


def is_budget_key(key: str) -> bool:
    """Whether scores under `key` are of one share of the training patients, or of so many masks."""
    part = key.partition(".")[0]
    return part.endswith("pct") or part.startswith("masks_")


def estimate_attention_metrics(prefix: str, scores: RunScores, study: EvaluationStudy) -> Estimates:
    """Pixel-AP per target and their mean, and the spatial entropy of the free heads."""
    result = estimate_means(f"{prefix}.pixel_ap", select_scores(scores, "ap."), study)
    if "spatial_entropy" in scores:
        result[f"{prefix}.spatial_entropy"] = estimate_mean(scores["spatial_entropy"], study.draws)
    return result


def estimate_budget_metrics(rest: RunScores, scores: RunScores, study: EvaluationStudy) -> tuple[Estimates, Estimates]:
    """What one budget gave: in short for the low-data table, and in full."""
    probes = {key: values for key, values in rest.items() if "." not in key}
    low = {
        name: average_estimates(estimate_auc_and_ap(scores["truth"], values, study.draws)[0], len(study.part))
        for name, values in probes.items()
    }
    whole = {f"features.{name}": found for name, found in low.items()}
    found = estimate_finding_aucs(select_scores(rest, "classification."), scores, study)
    found |= estimate_means("segmentation.dice", select_scores(rest, "segmentation."), study)
    for key, short in (("classification.mauc", "finetuned_mauc"),
                       ("segmentation.dice.mean", "finetuned_dice")):  # fmt: skip
        if key in found:
            low[short] = found[key]
    return low, whole | found


def select_scores(scores: RunScores, lead: str) -> RunScores:
    """The scores whose key starts with `lead`, without it."""
    return {key.removeprefix(lead): v for key, v in scores.items() if key.startswith(lead)}


def estimate_means(prefix: str, scores: RunScores, study: EvaluationStudy) -> Estimates:
    """Means over images under `<prefix>.<name>`, and `<prefix>.mean` over the names."""
    found = {f"{prefix}.{name}": estimate_mean(v, study.draws) for name, v in scores.items()}
    if found:
        found[f"{prefix}.mean"] = average_estimates(list(found.values()), len(study.part))
    return found


def estimate_finding_aucs(probability: RunScores, scores: RunScores, study: EvaluationStudy) -> Estimates:
    """`classification.auc.<label>`, `.mauc` and `.map` of a fine-tuned model."""
    if not probability:
        return {}
    truth = np.stack([scores[f"truth.{label}"] for label in probability], axis=1, dtype=np.float64)
    values = np.stack(list(probability.values()), axis=1, dtype=np.float64)
    aucs, precisions = estimate_auc_and_ap(truth, values, study.draws)
    result = {f"classification.auc.{k}": auc for k, auc in zip(probability, aucs, strict=True)}
    result["classification.mauc"] = average_estimates(aucs, len(study.part))
    result["classification.map"] = average_estimates(precisions, len(study.part))
    return result
