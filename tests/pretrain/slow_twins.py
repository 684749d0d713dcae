"""NumPy twins of what the losses share."""

import numpy as np
from skimage.measure import label


def softmax(x):
    """Softmax over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(targets, scores, temperature):
    """Cross-entropy of each row of scores [..., K] against probabilities [..., K]."""
    return -(targets * np.log(softmax(scores / temperature))).sum(-1)


def balance_prototypes(probabilities):
    """Three rounds of Sinkhorn-Knopp on positive rows [B, K]: columns sum to B / K, then rows to 1."""
    q = probabilities.copy()
    for _ in range(3):
        q = q / q.sum(0) / q.shape[1]
        q = q / q.sum(1, keepdims=True)
    return q


def spatial_entropy(scores, grid):
    """Entropy of the mass in the 8-connected regions above the mean of scores [N]."""
    above = (scores - scores.mean()).reshape(grid)
    regions = label(above > 0, connectivity=2)
    mass = np.array([above[regions == number].sum() for number in range(1, regions.max() + 1)])
    share = mass / mass.sum()
    return -(share * np.log(share)).sum()
