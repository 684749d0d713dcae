"""Cross-validated probes of frozen features: every labelled patient is scored once.

The test split of a small cohort has about a dozen positive images of a finding, too few to separate
backbones from random weights; all patients together are enough.
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
    """Images and labels of a cross-validation.

    Attributes:
        part: the images. truth: [n, C] in {0, 1, NaN}.
    """

    part: Cohort
    truth: Floats

    @classmethod
    def of(cls, study: EvaluationStudy) -> CrossvalData:
        """At most `probe_images` images of the whole cohort, with the labels that are probed.

        Annotated images are included: probes learn labels, not outlines.
        """
        settings = study.settings
        part = study.cohort.take(settings.probe_images, settings.seed)
        labels, _ = select_probe_labels(study)
        return cls(part, validate_binary_labels(part.labels(labels), labels))


def score_crossval_probes(backbone: Backbone, study: EvaluationStudy, seed: int) -> dict[str, Floats]:
    """Out-of-fold scores [n, C] of every probe, `crossval.<probe>`, and with random weights.

    Folds and random weights depend on `seed` alone, so arms with the same seed share them. Empty
    without `probe_folds` or without labels to probe.
    """
    settings = study.settings
    if not settings.probe_folds:
        return {}
    data = CrossvalData.of(study)
    if not data.truth.size:
        return {}
    seeded = settings.model_copy(update={"seed": seed})
    probe_scores = {}
    for prefix, network in (("", backbone.network), ("random_", build_random_network(backbone, seed))):
        features = extract_features(network, backbone.size, data.part, settings.batch, settings.device)
        for name, scores in score_out_of_fold(features, data, seeded).items():
            probe_scores[f"{CROSSVAL_PREFIX}{prefix}{name}"] = scores
    return probe_scores


def score_out_of_fold(
    features: tuple[ProbeFeatures, ProbeFeatures], data: CrossvalData, settings: EvaluateSettings
) -> dict[str, Floats]:
    """Scores of every image by probes trained without its patient.

    Scores are ranks within the fold, in (0, 1], since probes of different folds differ in scale.

    Args:
        features: of all images, from `probes.extract_features`.
        data: images and truth.
        settings: number and seed of the folds, and the probes.
    """
    fold = assign_folds(data.part.patient_ids, settings)
    kinds = ("linear_mauc", "pooled_linear_mauc", "knn_mauc")
    probe_scores: dict[str, Floats] = {kind: np.zeros(data.truth.shape) for kind in kinds}
    for number in range(settings.probe_folds):
        is_held_out = fold == number
        y = data.truth[~is_held_out]
        for kind, x in zip(kinds[:2], features, strict=True):
            scores = score_linear_probe(x[~is_held_out], y, fold[~is_held_out], x[is_held_out], settings)
            probe_scores[kind][is_held_out] = rank_within_fold(scores)
        knn_data = [(features[0][rows], data.truth[rows]) for rows in (~is_held_out, is_held_out)]
        votes = score_nearest_neighbours(ProbeSplits(knn_data[0], knn_data[0], knn_data[1]), settings.neighbours)
        probe_scores["knn_mauc"][is_held_out] = rank_within_fold(votes)
    return probe_scores


def assign_folds(patients: NDArray[Any], settings: EvaluateSettings) -> NDArray[np.intp]:
    """The fold of every image, [n]; all images of a patient share one."""
    from sklearn.model_selection import GroupKFold

    group_k_fold: Any = GroupKFold
    split = group_k_fold(settings.probe_folds, shuffle=True, random_state=settings.seed)
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
    aucs = [compute_inner_auc(x, y, fold, penalty) for penalty in settings.inverse_penalties]
    penalty = settings.inverse_penalties[int(np.argmax(np.nan_to_num(aucs, nan=-1)))]
    return fit_logistic_regressions(x, y, penalty, (others,))[0]


def compute_inner_auc(x: ProbeFeatures, y: Floats, fold: NDArray[np.intp], penalty: float) -> float:
    """Mean AUC over folds and labels, each fold scored by probes of the other folds."""
    aucs = []
    for number in np.unique(fold):
        is_held_out = fold == number
        (scores,) = fit_logistic_regressions(x[~is_held_out], y[~is_held_out], penalty, (x[is_held_out],))
        aucs += [[compute_auc(values, decision)] for values, decision in zip(y[is_held_out].T, scores.T, strict=True)]
    return float(compute_nan_mean(np.array(aucs))[0])


def rank_within_fold(scores: Floats) -> Floats:
    """Ranks of each column divided by its length, ties averaged."""
    return np.asarray(rankdata(scores, axis=0) / len(scores))


def estimate_crossval_aucs(scores: dict[str, Floats], study: EvaluationStudy) -> Estimates:
    """`features.crossval_<probe>` of all patients, `features.crossval_unseen_<probe>` of some.

    Unseen patients are those outside the train split, on which no backbone was pretrained. Keys of
    random weights have `random_` before `crossval`.
    """
    probe_scores = {key: values for key, values in scores.items() if key.startswith(CROSSVAL_PREFIX)}
    if not probe_scores:
        return {}
    data, settings = CrossvalData.of(study), study.settings
    draws = Resamples.draw(data.part.patient_ids, settings.resamples, settings.seed)
    unseen = (data.part.manifest["split"] != "train").to_numpy()
    unseen_truth = np.where(unseen[:, None], data.truth, np.nan)
    estimates = {}
    for key, values in probe_scores.items():
        probe = key.removeprefix(CROSSVAL_PREFIX)
        prefix = "random_" if probe.startswith("random_") else ""
        probe = probe.removeprefix(prefix)
        for kind, truth in (("crossval", data.truth), ("crossval_unseen", unseen_truth)):
            aucs, _ = estimate_auc_and_ap(truth, values, draws)
            n = int((~np.isnan(truth)).any(axis=1).sum())
            estimates[f"features.{prefix}{kind}_{probe}"] = average_estimates(aucs, n, classes=len(aucs))
    return estimates
