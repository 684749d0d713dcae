"""What the frozen features of each backbone know of the labels, beside random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medprior.evaluate.inputs import Named
from medprior.evaluate.probes.cross_validation import cross_estimates, cross_scores
from medprior.evaluate.probes.probe_parts import probe_parts
from medprior.evaluate.probes.probes import probe_scores
from medprior.evaluate.study import Section, Study, plain
from medprior.metrics.auc import Floats
from medprior.metrics.bootstrap import Estimate, average, ranked_estimates
from medprior.metrics.differences import Estimates, against_random, compared
from medprior.networks import Backbone

HEALTH = ("teacher_entropy", "uniform_entropy", "mean_entropy", "feature_std")


def probe_section(study: Study, backbones: Sequence[Named[Backbone]]) -> Section:
    """`features.*` of the first backbone, the others as baselines; the teacher's health beside."""
    section = Section()
    groups: dict[str, Estimates] = {named.name: health(named.item) for named in backbones}
    if study.settings.probe:
        parts, truth, why = probe_parts(study)
        section.skipped = [f"probes: {why}"] if why else []
        for named in backbones if not why else ():
            scores = probe_scores(named.item, parts, truth, study.settings)
            found = {
                f"features.{name}": mean_auc(truth["test"], values, study, facts)
                for name, (values, facts) in scores.items()
            }
            crossed = cross_scores(named.item, study, study.settings.seed)
            groups[named.name] |= found | cross_estimates(crossed, study)
    names = list(groups)
    section.estimates = compared(groups[names[0]], {name: groups[name] for name in names[1:]})
    section.estimates |= against_random(groups[names[0]])
    return section


def health(backbone: Backbone) -> Estimates:
    """What training recorded of the teacher: plain numbers under `features.*`."""
    training = backbone.config.get("training", {})
    values = {key: float(training[key]) for key in HEALTH if training.get(key) is not None}
    return {f"features.{k}": plain(v, 0) for k, v in values.items() if math.isfinite(v)}


def mean_auc(truth: Floats, scores: Floats, study: Study, facts: dict[str, float]) -> Estimate:
    """The unweighted mean AUC of probe scores [n, C] over labels."""
    aucs, _ = ranked_estimates(truth, scores, study.draws)
    return average(aucs, len(truth), classes=len(aucs), **facts)
