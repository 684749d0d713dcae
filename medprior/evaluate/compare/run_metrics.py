"""Estimates of one run of a comparison from its per-image scores."""

from __future__ import annotations

import numpy as np

from medprior.evaluate.probes.cross_validation import cross_estimates
from medprior.evaluate.study import Study
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Estimate, average, mean_estimate, ranked_estimates
from medprior.metrics.differences import Estimates

Scores = dict[str, Floats]
ALONE = {"teacher_entropy": "features.teacher_entropy", "loca_accuracy": "features.loca_accuracy"}


def run_estimates(scores: Scores, study: Study) -> Estimates:
    """Estimates of one run from its scores; nothing from a lost one."""
    same = np.ones(study.settings.resamples)
    result = attention_estimates("attention", scores, study)
    result |= attention_estimates("finetuned_attention", named(scores, "tuned."), study)
    result |= cross_estimates(scores, study)
    for name, values in scores.items():
        key = ALONE.get(name, name if name.startswith("cost.") else "")
        if key:
            result[key] = Estimate(float(values[0]), same * float(values[0]), 0)
    for part in sorted({key.partition(".")[0] for key in scores if is_budget(key)}):
        low, whole = budget_estimates(named(scores, f"{part}."), scores, study)
        result |= {f"low_data.{part}.{name}": value for name, value in low.items()}
        if part == "100pct":
            result |= whole
    return result


def is_budget(key: str) -> bool:
    """Whether scores under `key` are of one share of the training patients, or of so many masks."""
    part = key.partition(".")[0]
    return part.endswith("pct") or part.startswith("masks_")


def attention_estimates(prefix: str, scores: Scores, study: Study) -> Estimates:
    """Pixel-AP per target and their mean, and the spatial entropy of the free heads."""
    result = under(f"{prefix}.pixel_ap", named(scores, "ap."), study)
    if "spatial_entropy" in scores:
        result[f"{prefix}.spatial_entropy"] = mean_estimate(scores["spatial_entropy"], study.draws)
    return result


def budget_estimates(rest: Scores, scores: Scores, study: Study) -> tuple[Estimates, Estimates]:
    """What one budget gave: in short for the low-data table, and in full."""
    probes = {key: values for key, values in rest.items() if "." not in key}
    low = {
        name: average(ranked_estimates(scores["truth"], values, study.draws)[0], len(study.part))
        for name, values in probes.items()
    }
    whole = {f"features.{name}": found for name, found in low.items()}
    found = findings(named(rest, "classification."), scores, study)
    found |= under("segmentation.dice", named(rest, "segmentation."), study)
    for key, short in (("classification.mauc", "finetuned_mauc"),
                       ("segmentation.dice.mean", "finetuned_dice")):  # fmt: skip
        if key in found:
            low[short] = found[key]
    return low, whole | found


def named(scores: Scores, lead: str) -> Scores:
    """The scores whose key starts with `lead`, without it."""
    return {key.removeprefix(lead): v for key, v in scores.items() if key.startswith(lead)}


def under(prefix: str, scores: Scores, study: Study) -> Estimates:
    """Means over images under `<prefix>.<name>`, and `<prefix>.mean` over the names."""
    found = {f"{prefix}.{name}": mean_estimate(v, study.draws) for name, v in scores.items()}
    if found:
        found[f"{prefix}.mean"] = average(list(found.values()), len(study.part))
    return found


def findings(probability: Scores, scores: Scores, study: Study) -> Estimates:
    """`classification.auc.<label>`, `.mauc` and `.map` of a fine-tuned model."""
    if not probability:
        return {}
    truth = np.stack([scores[f"truth.{label}"] for label in probability], axis=1, dtype=np.float64)
    values = np.stack(list(probability.values()), axis=1, dtype=np.float64)
    aucs, precisions = ranked_estimates(truth, values, study.draws)
    result = {f"classification.auc.{k}": auc for k, auc in zip(probability, aucs, strict=True)}
    result["classification.mauc"] = average(aucs, len(study.part))
    result["classification.map"] = average(precisions, len(study.part))
    return result
