"""What the frozen features of each backbone know of the labels, beside random weights."""

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
from medprior.metrics.differences import Estimates, add_baseline_differences, compute_random_differences
from medprior.networks import Backbone

TEACHER_HEALTH_KEYS = ("teacher_entropy", "uniform_entropy", "mean_entropy", "feature_std")


def evaluate_probes(study: EvaluationStudy, backbones: Sequence[NamedInput[Backbone]]) -> Section:
    """`features.*` of the first backbone, the others as baselines; the teacher's health beside."""
    section = Section()
    groups: dict[str, Estimates] = {named.name: read_teacher_health(named.item) for named in backbones}
    if study.settings.probe:
        parts, truth, why = select_probe_data(study)
        section.skipped = [f"probes: {why}"] if why else []
        for named in backbones if not why else ():
            scores = score_backbone_probes(named.item, parts, truth, study.settings)
            found = {
                f"features.{name}": average_probe_auc(truth["test"], values, study, facts)
                for name, (values, facts) in scores.items()
            }
            crossed = score_crossval_probes(named.item, study, study.settings.seed)
            groups[named.name] |= found | estimate_crossval_aucs(crossed, study)
    names = list(groups)
    section.estimates = add_baseline_differences(groups[names[0]], {name: groups[name] for name in names[1:]})
    section.estimates |= compute_random_differences(groups[names[0]])
    return section


def read_teacher_health(backbone: Backbone) -> Estimates:
    """What training recorded of the teacher: plain numbers under `features.*`."""
    training = backbone.config.get("training", {})
    values = {key: float(training[key]) for key in TEACHER_HEALTH_KEYS if training.get(key) is not None}
    return {f"features.{k}": exact_estimate(v, 0) for k, v in values.items() if math.isfinite(v)}


def average_probe_auc(truth: Floats, scores: Floats, study: EvaluationStudy, facts: dict[str, float]) -> Estimate:
    """The unweighted mean AUC of probe scores [n, C] over labels."""
    aucs, _ = estimate_auc_and_ap(truth, scores, study.draws)
    return average_estimates(aucs, len(truth), classes=len(aucs), **facts)
