"""k-NN and linear probes of frozen features, and of random weights of the same shape."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.auc import Array, Floats, compute_auc
from medprior.metrics.bootstrap import compute_nan_mean
from medprior.networks import Backbone, Encoder, build_encoder
from medprior.networks.cohort_attention import iterate_whole_views
from medprior.networks.device import select_device
from medprior.networks.heads import pool_by_attention

ProbeFeatures = NDArray[np.float32]
PartFeatures = dict[str, tuple[ProbeFeatures, ProbeFeatures]]
"""Part of the cohort -> the features that `extract_features` returns."""
KNN_TEMPERATURE = 0.07  # of the k-NN vote, as in DINO
KNN_CHUNK_PAIRS = 2**22
"""Similarities of the k-NN vote that are in memory at once, 32 MiB."""


@dataclass(frozen=True)
class ProbeSplits:
    """Features and truth of the images to train a probe, choose its penalty and test it.

    Shape:
        x float32 [n, D], y float32 [n, C] in {0, 1, NaN} each.
    """

    train: tuple[ProbeFeatures, Floats]
    val: tuple[ProbeFeatures, Floats]
    test: tuple[ProbeFeatures, Floats]


@torch.no_grad()
def extract_features(
    network: Encoder, view: int, cohort: Cohort, batch: int, device: str
) -> tuple[ProbeFeatures, ProbeFeatures]:
    """Frozen features of every whole image.

    Returns:
        float32 [n, D], the CLS token; float32 [n, (1 + H) D], the CLS token and one
        attention-pooled patch token per head.
    """
    torch_device = select_device(device)
    network = network.to(torch_device).eval()
    heads = torch.arange(network.settings.heads, device=torch_device)
    cls_features, pooled_features = [], []
    for images, _ in iterate_whole_views(cohort, view, network.settings.patch, batch, torch_device):
        tokens = network(images, capture=True)
        pooled = rearrange(pool_by_attention(tokens, heads), "b h d -> b (h d)")
        cls_features.append(tokens.cls.float().cpu().numpy())
        pooled_features.append(torch.cat([tokens.cls, pooled], dim=1).float().cpu().numpy())
    return np.concatenate(cls_features), np.concatenate(pooled_features)


def build_random_network(backbone: Backbone, seed: int) -> Encoder:
    """A network of the backbone's shape with random weights, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_encoder(backbone.network.settings).eval()


def score_nearest_neighbours(splits: ProbeSplits, neighbours: int) -> Array:
    """Score of every test image: similarity-weighted share of positives among its neighbours.

    Cosine similarity, weights exp(s / 0.07) (DINO, section 4.1; Wu et al., CVPR 2018). Training
    images with unknown label are not used; k is at most the number of the others. Test images are
    compared in chunks, so that memory does not grow with test times training images.

    Returns:
        float64 [n, C] in [0, 1]; 0.5 where no training image has the label.
    """
    x, y = splits.train
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    test = splits.test[0] / np.maximum(np.linalg.norm(splits.test[0], axis=1, keepdims=True), 1e-12)
    train = x / np.maximum(norm, 1e-12)
    result = np.full((len(test), y.shape[1]), 0.5)
    rows = max(1, KNN_CHUNK_PAIRS // len(train))
    for start in range(0, len(test), rows):
        similarity = (test[start : start + rows] @ train.T).astype(np.float64)
        for column, truth in enumerate(y.T):
            known_rows = np.flatnonzero(~np.isnan(truth))
            if len(known_rows):
                votes = vote_by_similarity(similarity[:, known_rows], truth[known_rows], neighbours)
                result[start : start + rows, column] = votes
    return result


def vote_by_similarity(similarity: Floats, truth: Floats, neighbours: int) -> Array:
    """Weighted share of positives among the `neighbours` most similar of m images.

    Args:
        similarity: float64 [b, m].
        truth: [m] in {0, 1}.
        neighbours: at most m of them are used.

    Returns:
        float64 [b] in [0, 1].
    """
    k = min(neighbours, len(truth))
    nearest = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    nearby = similarity[np.arange(len(nearest))[:, None], nearest]
    weight = np.exp(nearby / KNN_TEMPERATURE)
    return np.asarray((weight * truth[nearest]).sum(axis=1) / weight.sum(axis=1))


def fit_linear_probe(splits: ProbeSplits, penalties: Sequence[float]) -> tuple[Array, float]:
    """Logistic regression per label on standardised features; one C for all, chosen on validation.

    Returns:
        float64 [n, C] scores of the test images, and the C. A label without both classes in
        training scores 0 throughout.
    """
    train, val, test = standardise_features(splits.train[0], splits.val[0], splits.test[0])
    best, best_auc, scores = penalties[0], -np.inf, np.zeros((len(test), splits.train[1].shape[1]))
    for penalty in penalties:
        on_val, on_test = fit_logistic_regressions(train, splits.train[1], penalty, (val, test))
        aucs = [[compute_auc(values, decision)] for values, decision in zip(splits.val[1].T, on_val.T, strict=True)]
        auc = float(np.nan_to_num(compute_nan_mean(np.array(aucs))[0], nan=-1.0))
        if auc > best_auc:
            best, best_auc, scores = penalty, auc, on_test
    return scores, best


def standardise_features(train: ProbeFeatures, *others: ProbeFeatures) -> list[ProbeFeatures]:
    """`train` and `others` [., D], standardised by `train`; constant features are only centred."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    return [(x - mean) / np.where(spread > 0, spread, 1) for x in (train, *others)]


def fit_logistic_regressions(
    x: ProbeFeatures, y: Floats, penalty: float, others: Sequence[ProbeFeatures]
) -> tuple[Array, ...]:
    """Decision values on each of `others` [m, D] of one logistic regression per label [m, C]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    regression: Any = LogisticRegression
    results = tuple(np.zeros((len(features), y.shape[1])) for features in others)
    for column, truth in enumerate(y.T):
        is_known = ~np.isnan(truth)
        if len(np.unique(truth[is_known])) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = regression(C=penalty, max_iter=300).fit(x[is_known], truth[is_known])
        for result, features in zip(results, others, strict=True):
            result[:, column] = model.decision_function(features)
    return results


def score_backbone_probes(
    backbone: Backbone,
    parts: dict[str, Cohort],
    truth: dict[str, Floats],
    settings: EvaluateSettings,
) -> dict[str, tuple[Array, dict[str, float]]]:
    """Scores of the test images by every probe.

    Args:
        backbone: with the frozen network to probe.
        parts: "train", "val" and "test" images.
        truth: the same keys, [n, C] in {0, 1, NaN}.
        settings: of the probes.

    Returns:
        Metric name (`knn_mauc`, `linear_mauc`, `pooled_linear_mauc`, with prefix `random_` for
        random weights) -> scores float64 [n, C] and facts.
    """
    return score_all_probes(extract_probe_features(backbone, parts, settings), truth, settings)


def extract_probe_features(
    backbone: Backbone, parts: dict[str, Cohort], settings: EvaluateSettings
) -> dict[str, PartFeatures]:
    """Features of every part by the backbone, key "", and by random weights, key "random_"."""
    networks = {"": backbone.network, "random_": build_random_network(backbone, settings.seed)}
    return {
        prefix: {
            name: extract_features(network, backbone.size, part, settings.batch, settings.device)
            for name, part in parts.items()
        }
        for prefix, network in networks.items()
    }


def score_all_probes(
    features: dict[str, PartFeatures], truth: dict[str, Floats], settings: EvaluateSettings
) -> dict[str, tuple[Array, dict[str, float]]]:
    """Scores as of `score_backbone_probes`, from the features of `extract_probe_features`."""
    return {
        f"{prefix}{name}": scores
        for prefix, part_features in features.items()
        for name, scores in score_feature_probes(part_features, truth, settings).items()
    }


def select_training_rows(features: dict[str, PartFeatures], rows: NDArray[np.intp]) -> dict[str, PartFeatures]:
    """The same features with some training images only."""
    return {
        prefix: parts | {"train": (parts["train"][0][rows], parts["train"][1][rows])}
        for prefix, parts in features.items()
    }


def score_feature_probes(
    features: PartFeatures,
    truth: dict[str, Floats],
    settings: EvaluateSettings,
    scored: str = "test",
) -> dict[str, tuple[Array, dict[str, float]]]:
    """Scores of the images of part `scored` by probes trained on "train" and chosen on "val".

    Args:
        features: part -> features from `extract_features`.
        truth: part -> [n, C] in {0, 1, NaN}.
        settings: of the probes.
        scored: name of one of the parts.
    """
    results: dict[str, tuple[Array, dict[str, float]]] = {}
    for index, kind in enumerate(("linear", "pooled_linear")):
        splits = ProbeSplits(*((features[name][index], truth[name]) for name in ("train", "val", scored)))
        scores, penalty = fit_linear_probe(splits, settings.inverse_penalties)
        results[f"{kind}_mauc"] = (scores, {"C": penalty})
        if kind == "linear":
            votes = score_nearest_neighbours(splits, settings.neighbours)
            results["knn_mauc"] = (votes, {"k": float(settings.neighbours)})
    return results
