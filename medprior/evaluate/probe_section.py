"""What the frozen features of each backbone know of the labels, beside random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medprior.cohort import Cohort
from medprior.evaluate.bootstrap import Estimate, average, ranked_estimates
from medprior.evaluate.classification import checked_truth
from medprior.evaluate.comparison import Estimates, against_random, compared
from medprior.evaluate.inputs import Named
from medprior.evaluate.probe import probe_scores
from medprior.evaluate.ranking import Floats
from medprior.evaluate.study import Section, Study, plain
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
            groups[named.name] |= found
    names = list(groups)
    section.estimates = compared(groups[names[0]], {name: groups[name] for name in names[1:]})
    section.estimates |= against_random(groups[names[0]])
    return section


def health(backbone: Backbone) -> Estimates:
    """What training recorded of the teacher: plain numbers under `features.*`."""
    training = backbone.config.get("training", {})
    values = {key: float(training[key]) for key in HEALTH if training.get(key) is not None}
    return {f"features.{k}": plain(v, 0) for k, v in values.items() if math.isfinite(v)}


def probe_parts(study: Study) -> tuple[dict[str, Cohort], dict[str, Floats], str]:
    """Images and truth that train, choose and test a probe; or why there can be none."""
    labels = study.cohort.label_names
    table = study.cohort.manifest
    if not labels:
        return {}, {}, "the cohort has no labels"
    if study.split != "test" or not {"train", "val", "test"} <= set(table.split):
        return {}, {}, "they need train, val and test, and judge test only"
    limit, seed = study.settings.probe_images, study.settings.seed
    parts = {
        "train": study.cohort.split("train").take(limit, seed),
        "val": study.cohort.split("val"),
        "test": study.part,
    }
    every = {name: checked_truth(part.labels(), labels) for name, part in parts.items()}
    counts = [[(truth == value).sum(axis=0) for value in (0, 1)] for truth in every.values()]
    usable = np.flatnonzero(np.min(counts, axis=(0, 1)) >= study.settings.probe_least)
    if not len(usable):
        return {}, {}, "no label has both classes in train, val and test"
    return parts, {name: t[:, usable] for name, t in every.items()}, ""


def mean_auc(truth: Floats, scores: Floats, study: Study, facts: dict[str, float]) -> Estimate:
    """The unweighted mean AUC of probe scores [n, C] over labels."""
    aucs, _ = ranked_estimates(truth, scores, study.draws)
    return average(aucs, len(truth), classes=len(aucs), **facts)
