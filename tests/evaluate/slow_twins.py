"""Plain, slow definitions, written from the formulas alone, that the fast code is held against."""

import itertools

import numpy as np
import torch

from medprior.networks.cohort_attention import iterate_whole_views


def slow_auc(truth, score):
    """Share of (positive, negative) pairs in the right order, a tie counting one half."""
    yes = [s for t, s in zip(truth, score, strict=True) if t == 1]
    no = [s for t, s in zip(truth, score, strict=True) if t == 0]
    if not yes or not no:
        return float("nan")
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(yes, no)]
    return sum(wins) / len(wins)


def slow_average_precision(truth, score):
    """Sum over thresholds of (gain in recall) x (precision there)."""
    known = [(t, s) for t, s in zip(truth, score, strict=True) if t == t]
    positives = sum(t for t, _ in known)
    if positives == 0 or positives == len(known):
        return float("nan")
    total, before = 0.0, 0.0
    for threshold in sorted({s for _, s in known}, reverse=True):
        called = [t for t, s in known if s >= threshold]
        recall = sum(called) / positives
        total += (recall - before) * sum(called) / len(called)
        before = recall
    return total


def slow_delong_variance(truth, a, b):
    """Variance of AUC(a) - AUC(b) from the pairwise kernel, DeLong 1988 equations 4 to 6."""

    def kernel(score):
        yes, no = score[truth == 1], score[truth == 0]
        return np.array([[1.0 if p > q else 0.5 if p == q else 0.0 for q in no] for p in yes])

    ka, kb = kernel(np.asarray(a)), kernel(np.asarray(b))
    s10 = np.cov(np.stack([ka.mean(1), kb.mean(1)]))
    s01 = np.cov(np.stack([ka.mean(0), kb.mean(0)]))
    s = s10 / ka.shape[0] + s01 / ka.shape[1]
    return ka.mean(), kb.mean(), s[0, 0] + s[1, 1] - 2 * s[0, 1]


def slow_dice(a, b):
    a, b = {tuple(i) for i in np.argwhere(a)}, {tuple(i) for i in np.argwhere(b)}
    return 2 * len(a & b) / (len(a) + len(b))


def slow_hd95(a, b, spacing):
    """Both sets of contour pixels, all pairwise distances."""

    def contour(mask):
        padded = np.pad(mask, 1)
        core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & ~core) * np.asarray(spacing)

    first, second = contour(a), contour(b)
    distance = np.sqrt(((first[:, None] - second[None]) ** 2).sum(-1))
    return max(np.percentile(distance.min(1), 95), np.percentile(distance.min(0), 95))


def slow_ece(truth, probability, bins):
    known = [(t, p) for t, p in zip(truth, probability, strict=True) if t == t]
    total = 0.0
    for i in range(bins):
        inside = [(t, p) for t, p in known if min(int(p * bins), bins - 1) == i]
        if inside:
            gap = sum(p for _, p in inside) / len(inside) - sum(t for t, _ in inside) / len(inside)
            total += abs(gap) * len(inside) / len(known)
    return total


def slow_spatial_entropy(logits):
    """Flood fill of what lies above the mean, then the entropy of the regions' mass."""
    above = logits - logits.mean()
    waiting = {tuple(at) for at in np.argwhere(above > 0)}
    masses = []
    while waiting:
        edge, mass = [waiting.pop()], 0.0
        while edge:
            y, x = edge.pop()
            mass += above[y, x]
            around = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & waiting
            waiting -= around
            edge += around
        masses.append(mass)
    shares = np.array(masses) / np.sum(masses)
    return float(-(shares * np.log(shares)).sum())


def slow_scatter(network, cohort, size, free):
    """Mean spatial entropy of the free heads of each image, from the logits of the CLS token."""
    entropies = []
    for images, _ in iterate_whole_views(cohort, size, network.settings.patch, 7, torch.device("cpu")):
        with torch.no_grad():
            tokens = network(images, capture=True)
        logits = tokens.cls_logits.double().numpy().reshape(len(images), -1, *tokens.grid)
        entropies += [
            np.mean([slow_spatial_entropy(logits_of_heads[head]) for head in free]) for logits_of_heads in logits
        ]
    return np.array(entropies)
