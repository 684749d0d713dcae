"""Probes of the frozen features of each backbone, compared with random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.probes.cross_validation import estimate_crossval_aucs, score_crossval_probes
from medprior.evaluate.probes.probe_data import select_probe_data
from medprior.evaluate.probes.probes import score_backbone_probes
from medprior.evaluate.study import EvaluationStudy, Section, exact_estimate
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Estimate, average_estimates, estimate_auc_and_ap
from medprior.metrics.differences import Estimates, compute_random_init_differences
from medprior.networks import Backbone

TEACHER_HEALTH_KEYS = ("teacher_entropy", "uniform_entropy", "mean_entropy", "feature_std")


def evaluate_probes(study: EvaluationStudy, backbones: Sequence[NamedInput[Backbone]]) -> Section:
    """`features.*` of the first backbone, the others as baselines; teacher statistics included."""
    section = Section()
    groups: dict[str, Estimates] = {entry.name: read_teacher_statistics(entry.item) for entry in backbones}
    if study.settings.probe:
        parts, truth, reason = select_probe_data(study)
        section.skipped = [f"probes: {reason}"] if reason else []
        for entry in backbones if not reason else ():
            scores = score_backbone_probes(entry.item, parts, truth, study.settings)
            estimates = {
                f"features.{name}": average_probe_auc(truth["test"], values, study, facts)
                for name, (values, facts) in scores.items()
            }
            crossval_scores = score_crossval_probes(entry.item, study, study.settings.seed)
            groups[entry.name] |= estimates | estimate_crossval_aucs(crossval_scores, study)
    section.add_source_estimates(groups)
    section.estimates |= compute_random_init_differences(groups[backbones[0].name])
    return section


def read_teacher_statistics(backbone: Backbone) -> Estimates:
    """Teacher statistics recorded in training, exact numbers under `features.*`."""
    training = backbone.config.get("training", {})
    values = {key: float(training[key]) for key in TEACHER_HEALTH_KEYS if training.get(key) is not None}
    return {f"features.{k}": exact_estimate(v, 0) for k, v in values.items() if math.isfinite(v)}


def average_probe_auc(truth: Floats, scores: Floats, study: EvaluationStudy, facts: dict[str, float]) -> Estimate:
    """The unweighted mean AUC of probe scores [n, C] over labels."""
    aucs, _ = estimate_auc_and_ap(truth, scores, study.draws)
    return average_estimates(aucs, len(truth), classes=len(aucs), **facts)
