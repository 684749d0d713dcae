"""Pixel-AP is sklearn's, at chance the prevalence, at perfection 1 (methods 11, point 19)."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from medprior.metrics.pixel_ap import compute_pixel_ap


def test_equals_sklearn_with_ties():
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 12, (6, 30, 25)).astype(np.float32)
    masks = rng.random((3, 30, 25)) < 0.2
    found = compute_pixel_ap(maps, masks)
    for m, k in np.ndindex(6, 3):
        expected = average_precision_score(masks[k].ravel(), maps[m].ravel())
        assert found[m, k] == pytest.approx(expected, abs=1e-12)


def test_chance_constant_and_perfect():
    rng = np.random.default_rng(1)
    mask = np.zeros((1, 200, 200), dtype=bool)
    mask[0, 40:110, 30:100] = True
    prevalence = mask.mean()
    random = rng.random((1, 200, 200)).astype(np.float32)
    assert compute_pixel_ap(random, mask)[0, 0] == pytest.approx(prevalence, abs=0.01)
    flat = np.full((1, 200, 200), 0.3, np.float32)
    assert compute_pixel_ap(flat, mask)[0, 0] == pytest.approx(prevalence, abs=1e-12)
    assert compute_pixel_ap(mask.astype(np.float32), mask)[0, 0] == 1
    assert np.isnan(compute_pixel_ap(flat, np.zeros_like(mask))[0, 0])
