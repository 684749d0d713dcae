"""Probes of frozen features by cross-validation: every labelled patient is judged once.

A test split of a small cohort has a dozen positive images of a finding, too few to tell backbones
from random weights; over all patients the same probes can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from medprior.cohort import Cohort
from medprior.evaluate.probes.probe_data import select_probe_labels
from medprior.evaluate.probes.probes import (
    ProbeFeatures,
    ProbeSplits,
    build_random_network,
    extract_features,
    fit_logistic_regressions,
    score_nearest_neighbours,
    standardise_features,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.metrics.auc import Floats, compute_auc
from medprior.metrics.bootstrap import Resamples, average_estimates, compute_nan_mean, estimate_auc_and_ap
from medprior.metrics.classification import validate_binary_labels
from medprior.metrics.differences import Estimates
from medprior.networks import Backbone

CROSSVAL_PREFIX = "crossval."


@dataclass(frozen=True)
class CrossvalData:
    """All patients that cross-validation judges.

    Attributes:
        part: their images. truth: [n, C] in {0, 1, NaN}.
    """

    part: Cohort
    truth: Floats

    @classmethod
    def of(cls, study: EvaluationStudy) -> CrossvalData:
        """The images of the whole cohort, at most `probe_images`, and the labels that probes ask.

        Images that a prior was drawn on are in: probes learn labels, not outlines.
        """
        settings = study.settings
        part = study.cohort.take(settings.probe_images, settings.seed)
        labels, _ = select_probe_labels(study)
        return cls(part, validate_binary_labels(part.labels(labels), labels))


def score_crossval_probes(backbone: Backbone, study: EvaluationStudy, seed: int) -> dict[str, Floats]:
    """Out-of-fold scores [n, C] of every probe, `crossval.<probe>`, and with random weights.

    Folds and random weights are drawn from `seed`, so that arms with one seed share them. Nothing
    without `probe_folds` or without labels that can be probed.
    """
    settings = study.settings
    if not settings.probe_folds:
        return {}
    everyone = CrossvalData.of(study)
    if not everyone.truth.size:
        return {}
    seeded = settings.model_copy(update={"seed": seed})
    found = {}
    for lead, network in (("", backbone.network), ("random_", build_random_network(backbone, seed))):
        both = extract_features(network, backbone.size, everyone.part, settings.batch, settings.device)
        for name, scores in score_out_of_fold(both, everyone, seeded).items():
            found[f"{CROSSVAL_PREFIX}{lead}{name}"] = scores
    return found


def score_out_of_fold(
    both: tuple[ProbeFeatures, ProbeFeatures], everyone: CrossvalData, settings: EvaluateSettings
) -> dict[str, Floats]:
    """Scores of every image by probes that never saw its patient.

    They are ranks within the fold, in (0, 1]: probes of two folds have scales of their own.

    Args:
        both: features of all images, as of `probe.features`.
        everyone: images and truth.
        settings: number and seed of the folds, which probes.
    """
    fold = assign_folds(everyone.part.patient_ids, settings)
    kinds = ("linear_mauc", "pooled_linear_mauc", "knn_mauc")
    found: dict[str, Floats] = {kind: np.zeros(everyone.truth.shape) for kind in kinds}
    for number in range(settings.probe_folds):
        judged = fold == number
        y = everyone.truth[~judged]
        for kind, x in zip(kinds[:2], both, strict=True):
            scores = score_linear_probe(x[~judged], y, fold[~judged], x[judged], settings)
            found[kind][judged] = rank_within_fold(scores)
        pairs = [(both[0][rows], everyone.truth[rows]) for rows in (~judged, judged)]
        votes = score_nearest_neighbours(ProbeSplits(pairs[0], pairs[0], pairs[1]), settings.neighbours)
        found["knn_mauc"][judged] = rank_within_fold(votes)
    return found


def assign_folds(patients: NDArray[Any], settings: EvaluateSettings) -> NDArray[np.intp]:
    """The fold of every image, [n]; all images of a patient are in one."""
    from sklearn.model_selection import GroupKFold

    by_group: Any = GroupKFold
    split = by_group(settings.probe_folds, shuffle=True, random_state=settings.seed)
    fold = np.zeros(len(patients), dtype=np.intp)
    for number, (_, rows) in enumerate(split.split(patients, groups=patients)):
        fold[rows] = number
    return fold


def score_linear_probe(
    x: ProbeFeatures, y: Floats, fold: NDArray[np.intp], others: ProbeFeatures, settings: EvaluateSettings
) -> Floats:
    """Decision values on `others` [m, D] of a logistic regression per label, [m, C].

    Features are standardised; one C for all labels is chosen by cross-validation over the folds of
    x. A label without both classes scores 0.
    """
    x, others = standardise_features(x, others)
    reached = [compute_inner_auc(x, y, fold, penalty) for penalty in settings.inverse_penalties]
    best = settings.inverse_penalties[int(np.argmax(np.nan_to_num(reached, nan=-1)))]
    return fit_logistic_regressions(x, y, best, (others,))[0]


def compute_inner_auc(x: ProbeFeatures, y: Floats, fold: NDArray[np.intp], penalty: float) -> float:
    """AUC of images of every fold by the other folds, mean over folds and labels."""
    aucs = []
    for number in np.unique(fold):
        judged = fold == number
        (scores,) = fit_logistic_regressions(x[~judged], y[~judged], penalty, (x[judged],))
        aucs += [[compute_auc(t, s)] for t, s in zip(y[judged].T, scores.T, strict=True)]
    return float(compute_nan_mean(np.array(aucs))[0])


def rank_within_fold(scores: Floats) -> Floats:
    """Every column's ranks over its length, ties shared."""
    return np.asarray(rankdata(scores, axis=0) / len(scores))


def estimate_crossval_aucs(scores: dict[str, Floats], study: EvaluationStudy) -> Estimates:
    """`features.crossval_<probe>` of all patients, `features.crossval_unseen_<probe>` of some.

    The unseen ones are those outside the train split: no backbone has seen them, not even without
    their labels. Scores of random weights have `random_` before `crossval`.
    """
    named = {key: values for key, values in scores.items() if key.startswith(CROSSVAL_PREFIX)}
    if not named:
        return {}
    everyone, settings = CrossvalData.of(study), study.settings
    draws = Resamples.draw(everyone.part.patient_ids, settings.resamples, settings.seed)
    unseen = (everyone.part.manifest["split"] != "train").to_numpy()
    hidden = np.where(unseen[:, None], everyone.truth, np.nan)
    found = {}
    for key, values in named.items():
        probe = key.removeprefix(CROSSVAL_PREFIX)
        lead = "random_" if probe.startswith("random_") else ""
        probe = probe.removeprefix(lead)
        for kind, truth in (("crossval", everyone.truth), ("crossval_unseen", hidden)):
            aucs, _ = estimate_auc_and_ap(truth, values, draws)
            n = int((~np.isnan(truth)).any(axis=1).sum())
            found[f"features.{lead}{kind}_{probe}"] = average_estimates(aucs, n, classes=len(aucs))
    return found
