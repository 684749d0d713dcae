"""Display functions against the standard's formulas."""

from __future__ import annotations

import numpy as np
import pytest

from medprior.phantom.voi import VoiTransform, sample_voi

SIGNAL = np.linspace(0, 1, 101).astype(np.float32)


def test_linear_ends_where_the_window_ends():
    shown = VoiTransform("LINEAR", 0.5, 0.4).apply(SIGNAL)
    assert shown[30] == pytest.approx(0, abs=1e-6)
    assert shown[50] == pytest.approx(0.5)
    assert shown[70] == pytest.approx(1, abs=1e-6)


def test_sigmoid_is_the_standards():
    shown = VoiTransform("SIGMOID", 0.45, 0.6).apply(SIGNAL)
    assert shown == pytest.approx(1 / (1 + np.exp(-4 * (SIGNAL - 0.45) / 0.6)), abs=1e-6)


@pytest.mark.parametrize("kind", ["LINEAR", "SIGMOID", "TABLE"])
def test_display_rises_within_its_range(kind):
    for seed in range(20):
        shown = sample_voi(kind, np.random.default_rng(seed)).apply(SIGNAL)
        assert (np.diff(shown) >= 0).all()
        assert shown.min() >= 0
        assert shown.max() <= 1
        assert shown[75] - shown[25] > 0.5
