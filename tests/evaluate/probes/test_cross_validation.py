"""Cross-validated probes: by patient, blind to what is judged, equal to a slow twin."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from medprior.errors import ConfigError
from medprior.evaluate.probes.cross_validation import (
    CrossvalData,
    assign_folds,
    estimate_crossval_aucs,
    score_crossval_probes,
    score_linear_probe,
    score_out_of_fold,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.metrics.auc import compute_auc
from medprior.networks import load_backbone

SETTINGS = EvaluateSettings.from_values(
    {"resamples": 40, "neighbours": 5, "probe_folds": 4, "inverse_penalties": [0.01, 1.0]}
)
PROBES = ("linear_mauc", "pooled_linear_mauc", "knn_mauc")


class People:
    """As many images of as many patients as are asked for."""

    def __init__(self, patient_ids):
        self.patient_ids = np.asarray(patient_ids)


def everyone(patients, truth):
    return CrossvalData(People(patients), truth)


def aucs(features, people, settings=SETTINGS):
    x = np.asarray(features, dtype=np.float32)
    probe_scores = score_out_of_fold((x, x), people, settings)
    return {kind: compute_auc(people.truth[:, 0], scores[:, 0]) for kind, scores in probe_scores.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_patient_is_in_one_fold_and_every_image_in_some(seed):
    patients = np.random.default_rng(seed).integers(40, size=150).astype(str)
    settings = SETTINGS.model_copy(update={"seed": seed})
    fold = assign_folds(patients, settings)
    assert set(fold) == {0, 1, 2, 3}
    assert all(len(set(fold[patients == one])) == 1 for one in patients)
    np.testing.assert_array_equal(fold, assign_folds(patients, settings))
    other = assign_folds(patients, SETTINGS.model_copy(update={"seed": seed + 1}))
    assert (fold != other).any()


def test_what_a_feature_knows_is_found_and_noise_is_chance():
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 1)) < 0.4).astype(float)
    people = everyone(np.arange(400).astype(str), truth)
    known = aucs(truth + rng.normal(scale=0.1, size=(400, 4)), people)
    assert min(known.values()) > 0.99
    assert all(abs(value - 0.5) < 0.1 for value in aucs(rng.normal(size=(400, 4)), people).values())


def test_knowing_the_patient_does_not_help():
    """Features that say who it is and nothing else: by image they would tell all."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 6)
    truth = (rng.random(60) < 0.5).astype(float)[patients][:, None]
    who = np.eye(60)[patients] + rng.normal(scale=0.01, size=(360, 60))
    for value in aucs(who, everyone(patients.astype(str), truth)).values():
        assert value < 0.65


def test_scores_are_ranks_within_the_fold_and_labels_of_the_judged_are_not_used():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    truth = (rng.random((120, 2)) < 0.5).astype(float)
    truth[rng.random((120, 2)) < 0.2] = np.nan
    people = everyone((np.arange(120) // 2).astype(str), truth)
    fold = assign_folds(people.part.patient_ids, SETTINGS)
    probe_scores = score_out_of_fold((x, x), people, SETTINGS)
    for scores in probe_scores.values():
        assert ((scores > 0) & (scores <= 1)).all()
    lone = probe_scores["linear_mauc"][fold == 2, 0]
    np.testing.assert_allclose(np.sort(lone), np.arange(1, len(lone) + 1) / len(lone))
    changed = truth.copy()
    changed[fold == 2] = 1 - changed[fold == 2]
    rescored = score_out_of_fold((x, x), everyone(people.part.patient_ids, changed), SETTINGS)
    for kind in PROBES:
        np.testing.assert_array_equal(rescored[kind][fold == 2], probe_scores[kind][fold == 2])


def test_linear_scores_against_a_slow_twin():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(90, 30)).astype(np.float32)
    y = (x[:, :2] + rng.normal(scale=1.5, size=(90, 2)) > 0).astype(float)
    y[:9, 1] = np.nan
    fold, others = np.arange(90) % 3, rng.normal(size=(20, 30)).astype(np.float32)
    scaler = StandardScaler().fit(x)
    sx, so = scaler.transform(x), scaler.transform(others)

    def model(penalty, rows, label):
        known = rows & ~np.isnan(y[:, label])
        return LogisticRegression(C=penalty, max_iter=300).fit(sx[known], y[known, label])

    def reached(penalty):
        values = []
        for number in range(3):
            for label in range(2):
                held_out = (fold == number) & ~np.isnan(y[:, label])
                scores = model(penalty, fold != number, label).decision_function(sx[held_out])
                values.append(roc_auc_score(y[held_out, label], scores))
        return np.mean(values)

    best = max(SETTINGS.inverse_penalties, key=reached)
    every = np.ones(90, dtype=bool)
    expected = np.stack([model(best, every, n).decision_function(so) for n in range(2)], axis=1)
    np.testing.assert_allclose(score_linear_probe(x, y, fold, others, SETTINGS), expected, atol=1e-3)


def test_of_a_cohort_all_are_judged_and_the_unseen_apart(cohort, dino_path):
    study = EvaluationStudy.of(cohort, "test", frozenset(), SETTINGS)
    scores = score_crossval_probes(load_backbone(dino_path), study, seed=1)
    assert set(scores) == {f"crossval.{lead}{p}" for lead in ("", "random_") for p in PROBES}
    estimates = estimate_crossval_aucs(scores, study)
    labels = ["cardiomegaly", "effusion"]
    truth = cohort.labels(labels)
    away = (cohort.manifest["split"] != "train").to_numpy()
    values = scores["crossval.random_knn_mauc"]
    for key, rows in (("crossval", np.ones_like(away)), ("crossval_unseen", away)):
        expected = np.mean([compute_auc(truth[rows, i], values[rows, i]) for i in range(2)])
        estimate = estimates[f"features.random_{key}_knn_mauc"]
        assert estimate.value == pytest.approx(expected)
        assert estimate.n == rows.sum()
    assert {key.rpartition("_")[2] for key in estimates} == {"mauc"}
    assert len(estimates) == 12


def test_without_folds_there_is_nothing_and_two_are_refused(cohort, dino_path):
    plain = EvaluationStudy.of(cohort, "test", frozenset(), EvaluateSettings.from_values({"resamples": 5}))
    assert score_crossval_probes(load_backbone(dino_path), plain, 0) == {}
    assert estimate_crossval_aucs({}, plain) == {}
    with pytest.raises(ConfigError, match="probe_folds must be 0, or at least 3"):
        EvaluateSettings.from_values({"probe_folds": 2})
