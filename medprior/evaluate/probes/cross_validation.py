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
from medprior.evaluate.probes.probe_parts import probe_labels
from medprior.evaluate.probes.probes import (
    Features,
    Splits,
    features,
    fitted,
    nearest_neighbours,
    random_network,
    standardised,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import Study
from medprior.metrics.auc import Floats, auc
from medprior.metrics.bootstrap import Resamples, average, quiet_mean, ranked_estimates
from medprior.metrics.classification import checked_truth
from medprior.metrics.differences import Estimates
from medprior.networks import Backbone

LEAD = "crossval."


@dataclass(frozen=True)
class Everyone:
    """All patients that cross-validation judges.

    Attributes:
        part: their images. truth: [n, C] in {0, 1, NaN}.
    """

    part: Cohort
    truth: Floats

    @classmethod
    def of(cls, study: Study) -> Everyone:
        """The images of the whole cohort, at most `probe_images`, and the labels that probes ask.

        Images that a prior was drawn on are in: probes learn labels, not outlines.
        """
        settings = study.settings
        part = study.cohort.take(settings.probe_images, settings.seed)
        labels, _ = probe_labels(study)
        return cls(part, checked_truth(part.labels(labels), labels))


def cross_scores(backbone: Backbone, study: Study, seed: int) -> dict[str, Floats]:
    """Out-of-fold scores [n, C] of every probe, `crossval.<probe>`, and with random weights.

    Folds and random weights are drawn from `seed`, so that arms with one seed share them. Nothing
    without `probe_folds` or without labels that can be probed.
    """
    settings = study.settings
    if not settings.probe_folds:
        return {}
    everyone = Everyone.of(study)
    if not everyone.truth.size:
        return {}
    seeded = settings.model_copy(update={"seed": seed})
    found = {}
    for lead, network in (("", backbone.network), ("random_", random_network(backbone, seed))):
        both = features(network, backbone.size, everyone.part, settings.batch, settings.device)
        for name, scores in out_of_fold(both, everyone, seeded).items():
            found[f"{LEAD}{lead}{name}"] = scores
    return found


def out_of_fold(
    both: tuple[Features, Features], everyone: Everyone, settings: EvaluateSettings
) -> dict[str, Floats]:
    """Scores of every image by probes that never saw its patient.

    They are ranks within the fold, in (0, 1]: probes of two folds have scales of their own.

    Args:
        both: features of all images, as of `probe.features`.
        everyone: images and truth.
        settings: number and seed of the folds, which probes.
    """
    fold = folds(everyone.part.patient_ids, settings)
    kinds = ("linear_mauc", "pooled_linear_mauc", "knn_mauc")
    found: dict[str, Floats] = {kind: np.zeros(everyone.truth.shape) for kind in kinds}
    for number in range(settings.probe_folds):
        judged = fold == number
        y = everyone.truth[~judged]
        for kind, x in zip(kinds[:2], both, strict=True):
            scores = linear_scores(x[~judged], y, fold[~judged], x[judged], settings)
            found[kind][judged] = ranked(scores)
        pairs = [(both[0][rows], everyone.truth[rows]) for rows in (~judged, judged)]
        votes = nearest_neighbours(Splits(pairs[0], pairs[0], pairs[1]), settings.neighbours)
        found["knn_mauc"][judged] = ranked(votes)
    return found


def folds(patients: NDArray[Any], settings: EvaluateSettings) -> NDArray[np.intp]:
    """The fold of every image, [n]; all images of a patient are in one."""
    from sklearn.model_selection import GroupKFold

    by_group: Any = GroupKFold
    split = by_group(settings.probe_folds, shuffle=True, random_state=settings.seed)
    fold = np.zeros(len(patients), dtype=np.intp)
    for number, (_, rows) in enumerate(split.split(patients, groups=patients)):
        fold[rows] = number
    return fold


def linear_scores(
    x: Features, y: Floats, fold: NDArray[np.intp], others: Features, settings: EvaluateSettings
) -> Floats:
    """Decision values on `others` [m, D] of a logistic regression per label, [m, C].

    Features are standardised; one C for all labels is chosen by cross-validation over the folds of
    x. A label without both classes scores 0.
    """
    x, others = standardised(x, others)
    reached = [inner_auc(x, y, fold, penalty) for penalty in settings.inverse_penalties]
    best = settings.inverse_penalties[int(np.argmax(np.nan_to_num(reached, nan=-1)))]
    return fitted(x, y, best, (others,))[0]


def inner_auc(x: Features, y: Floats, fold: NDArray[np.intp], penalty: float) -> float:
    """AUC of images of every fold by the other folds, mean over folds and labels."""
    aucs = []
    for number in np.unique(fold):
        judged = fold == number
        (scores,) = fitted(x[~judged], y[~judged], penalty, (x[judged],))
        aucs += [[auc(t, s)] for t, s in zip(y[judged].T, scores.T, strict=True)]
    return float(quiet_mean(np.array(aucs))[0])


def ranked(scores: Floats) -> Floats:
    """Every column's ranks over its length, ties shared."""
    return np.asarray(rankdata(scores, axis=0) / len(scores))


def cross_estimates(scores: dict[str, Floats], study: Study) -> Estimates:
    """`features.crossval_<probe>` of all patients, `features.crossval_unseen_<probe>` of some.

    The unseen ones are those outside the train split: no backbone has seen them, not even without
    their labels. Scores of random weights have `random_` before `crossval`.
    """
    named = {key: values for key, values in scores.items() if key.startswith(LEAD)}
    if not named:
        return {}
    everyone, settings = Everyone.of(study), study.settings
    draws = Resamples.draw(everyone.part.patient_ids, settings.resamples, settings.seed)
    unseen = (everyone.part.manifest["split"] != "train").to_numpy()
    hidden = np.where(unseen[:, None], everyone.truth, np.nan)
    found = {}
    for key, values in named.items():
        probe = key.removeprefix(LEAD)
        lead = "random_" if probe.startswith("random_") else ""
        probe = probe.removeprefix(lead)
        for kind, truth in (("crossval", everyone.truth), ("crossval_unseen", hidden)):
            aucs, _ = ranked_estimates(truth, values, draws)
            n = int((~np.isnan(truth)).any(axis=1).sum())
            found[f"features.{lead}{kind}_{probe}"] = average(aucs, n, classes=len(aucs))
    return found
