"""Votes of neighbours and linear probes, by hand."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from medprior.evaluate.probes import probes
from medprior.evaluate.probes.probes import (
    ProbeSplits,
    build_random_network,
    extract_features,
    fit_linear_probe,
    fit_logistic_regressions,
    score_feature_probes,
    score_nearest_neighbours,
    standardise_features,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.networks import load_backbone


def vectors(*degrees):
    """Unit vectors at angles from the first axis, float32 [n, 2]."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def vote(train, truth, test, neighbours):
    splits = ProbeSplits((train, np.array(truth, dtype=float).reshape(len(train), -1)), None, (test, None))
    return score_nearest_neighbours(splits, neighbours)[:, 0]


def test_neighbours_vote_with_the_exponential_of_their_cosine():
    """Cosines 1 and 0.5 at temperature 0.07: weights e^(1 / 0.07) and e^(0.5 / 0.07)."""
    near, far = np.exp(1 / 0.07), np.exp(0.5 / 0.07)
    train = vectors(0, 60, 180)
    assert vote(train, [0, 1, 1], vectors(0), 2) == pytest.approx([far / (near + far)], rel=1e-4)
    assert vote(train, [1, 0, 0], vectors(0), 2) == pytest.approx([near / (near + far)], rel=1e-4)


def test_length_does_not_matter_and_the_nearest_are_counted():
    train = vectors(0, 10, 90, 100) * np.array([[0.1], [50], [1], [9]], np.float32)
    assert vote(train, [1, 1, 0, 0], 7 * vectors(5, 95), 2).tolist() == [1.0, 0.0]
    assert vote(train, [1, 0, 0, 0], vectors(0), 1).tolist() == [1.0]


def test_unknown_neighbours_do_not_vote_and_k_is_cut_to_the_known():
    train = vectors(0, 60, 60)
    assert vote(train, [np.nan, 1, 0], vectors(0), 20) == pytest.approx([0.5])
    assert vote(train, [np.nan, 1, 1], vectors(0), 1) == pytest.approx([1.0])
    assert vote(train, [np.nan] * 3, vectors(0), 1).tolist() == [0.5]


def test_features_are_standardised_by_training_images_and_constants_only_centred():
    train = np.array([[1, 5], [3, 5]], np.float32)
    standard, other = standardise_features(train, np.array([[5, 7]], np.float32))
    assert standard.tolist() == [[-1, 0], [1, 0]]
    assert other.tolist() == [[3, 2]]


def test_a_label_without_both_classes_scores_zero_and_unknown_images_are_left_out():
    x = np.array([[-1.0], [1.0], [-9.0]], np.float32)
    y = np.array([[0, 1], [1, 1], [np.nan, np.nan]])
    (scores,) = fit_logistic_regressions(x, y, 1.0, (np.array([[2.0], [-2.0]], np.float32),))
    assert scores[0, 0] == pytest.approx(-scores[1, 0], abs=1e-4)
    assert scores[0, 0] > 0
    assert not scores[:, 1].any()


def test_the_penalty_with_the_best_auc_on_validation_is_chosen():
    """Sixty weak features and forty images: the penalties rank validation images differently."""
    rng = np.random.default_rng(0)
    parts = {}
    for name, images in (("train", 40), ("val", 200), ("test", 50)):
        truth = rng.integers(2, size=(images, 1)).astype(float)
        parts[name] = ((0.3 * truth + rng.normal(size=(images, 60))).astype(np.float32), truth)
    splits = ProbeSplits(parts["train"], parts["val"], parts["test"])
    train, val, test = standardise_features(*(parts[name][0] for name in ("train", "val", "test")))
    aucs, candidates = [], (0.0001, 100.0)
    for penalty in candidates:
        scores = fit_logistic_regressions(train, parts["train"][1], penalty, (val,))[0][:, 0]
        positive, negative = scores[parts["val"][1][:, 0] == 1], scores[parts["val"][1][:, 0] == 0]
        aucs.append((positive[:, None] > negative).mean())
    best = candidates[int(np.argmax(aucs))]
    assert abs(aucs[0] - aucs[1]) > 0.01
    for order in (candidates, candidates[::-1]):
        scores, chosen = fit_linear_probe(splits, order)
        assert chosen == best
        np.testing.assert_array_equal(scores, fit_logistic_regressions(train, parts["train"][1], best, (test,))[0])


def test_of_equal_penalties_the_first_is_kept():
    x, y = np.array([[-1.0], [1.0], [-2.0], [2.0]], np.float32), np.array([[0.0], [1.0], [0.0], [1.0]])
    assert fit_linear_probe(ProbeSplits((x, y), (x, y), (x, y)), (0.5, 5.0))[1] == 0.5
    unknown = np.full((4, 1), np.nan)
    assert fit_linear_probe(ProbeSplits((x, y), (x, unknown), (x, y)), (0.5, 5.0))[1] == 0.5


def test_the_scored_part_is_the_one_asked_for():
    rng = np.random.default_rng(1)
    truth = {name: np.array([[0.0], [1.0]] * 4) for name in ("train", "val", "test", "away")}
    features = {
        name: tuple((labels + rng.normal(size=(8, 3))).astype(np.float32) for _ in range(2))
        for name, labels in truth.items()
    }
    settings = EvaluateSettings.from_values({"neighbours": 3, "inverse_penalties": [0.1]})
    away = score_feature_probes(features, truth, settings, "away")
    swapped = score_feature_probes(features | {"test": features["away"]}, truth, settings)
    assert list(away) == ["linear_mauc", "knn_mauc", "pooled_linear_mauc"]
    for name, (scores, facts) in away.items():
        np.testing.assert_array_equal(scores, swapped[name][0])
        assert facts == ({"k": 3.0} if name == "knn_mauc" else {"C": 0.1})


def test_features_are_the_cls_token_and_one_pooled_token_per_head(cohort, span_path):
    backbone = load_backbone(span_path)
    some = cohort.take(3, 0)
    cls, pooled = extract_features(backbone.network, backbone.size, some, 2, "cpu")
    assert (cls.shape, pooled.shape) == ((3, 24), (3, 5 * 24))
    np.testing.assert_array_equal(pooled[:, :24], cls)
    assert cls.dtype == pooled.dtype == np.float32


def test_random_networks_depend_on_the_seed_alone(span_path):
    backbone = load_backbone(span_path)
    state = torch.get_rng_state()
    first, again, other = (build_random_network(backbone, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    weights, same, changed = (network.state_dict() for network in (first, again, other))
    assert all(torch.equal(values, same[name]) for name, values in weights.items())
    assert any(not torch.equal(values, changed[name]) for name, values in weights.items())
    assert not first.training


VOTE = """
from tests.memory import read_peak_kib
import numpy as np
from medprior.evaluate.probes.probes import ProbeSplits, score_nearest_neighbours
rng = np.random.default_rng(0)
features, truth = rng.random((9000, 8), dtype=np.float32), rng.integers(0, 2, (9000, 1)).astype(float)
train, test = (features, truth), (features[:4000], truth[:4000])
before = read_peak_kib()
scores = score_nearest_neighbours(ProbeSplits(train, test, test), 1)
assert (scores[:, 0] == truth[:4000, 0]).all()
print(read_peak_kib() - before)
"""


def test_votes_never_hold_all_similarities():
    """All 36 million similarities and their order would be 1100 MiB."""
    done = subprocess.run([sys.executable, "-c", VOTE], capture_output=True, check=True, text=True, timeout=300)
    assert int(done.stdout) / 2**10 < 250


def test_votes_in_chunks_are_those_of_all_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 5), dtype=np.float32), rng.integers(0, 2, (30, 3)).astype(float)
    y[rng.random(y.shape) < 0.3] = np.nan
    splits = ProbeSplits((x, y), (x, y), (rng.random((17, 5), dtype=np.float32), y[:17]))
    whole = score_nearest_neighbours(splits, 4)
    for pairs in (1, 100):
        monkeypatch.setattr(probes, "KNN_CHUNK_PAIRS", pairs)
        np.testing.assert_allclose(score_nearest_neighbours(splits, 4), whole, rtol=1e-5)
