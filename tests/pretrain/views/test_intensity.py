"""Exposure changes stay in range and can be neutral."""

import numpy as np
import pytest
import torch

from medprior.pretrain.views.intensity import IntensitySettings, apply_exposures, sample_exposures


def test_exposure_stays_in_range_and_keeps_geometry():
    images = torch.rand(8, 1, 16, 16)
    drawn = sample_exposures(np.random.default_rng(0), 8, IntensitySettings())
    out = apply_exposures(images, drawn)
    assert out.min() >= 0
    assert out.max() <= 1
    neutral = np.tile([0.0, 1.0, 1.0, 0.0], (8, 1))
    assert torch.allclose(apply_exposures(images, neutral), images, atol=1e-5)


@pytest.mark.parametrize(
    ("shift", "contrast", "gamma", "dark", "bright"),
    [
        (0.1, 1.0, 1.0, 0.35, 0.85),
        (-0.5, 1.0, 1.0, 0.0, 0.25),
        (0.0, 0.5, 1.0, 0.375, 0.625),
        (0.0, 3.0, 1.0, 0.0, 1.0),
        (0.0, 1.0, 2.0, 0.0625, 0.5625),
        # contrast is taken about the mean before gamma: (0.0625 - 0.5) / 2 + 0.5
        (0.0, 0.5, 2.0, 0.28125, 0.53125),
    ],
)
def test_each_change_by_hand(shift, contrast, gamma, dark, bright):
    image = torch.tensor([[[[0.25, 0.75]]]])
    out = apply_exposures(image, np.array([[shift, contrast, gamma, 0.0]]))
    assert out.flatten().tolist() == pytest.approx([dark, bright], abs=1e-5)


def test_only_the_views_that_are_asked_for_are_blurred():
    image = torch.zeros(2, 1, 7, 7)
    image[:, :, 3, 3] = 1
    out = apply_exposures(image, np.array([[0, 1, 1, 0], [0, 1, 1, 1]], dtype=float))
    assert torch.allclose(out[0], image[0], atol=1e-5)
    assert 0.2 < out[1, 0, 3, 3] < 0.3
    assert out[1, 0, 3, 2].item() == pytest.approx(out[1, 0, 2, 3].item(), abs=1e-6)


def test_strengths_bound_what_is_sampled():
    settings = IntensitySettings(brightness=0.25, contrast=1.0, gamma=3.0, blur_p=0.5)
    shift, contrast, gamma, blurred = sample_exposures(np.random.default_rng(0), 2000, settings).T
    for values, low, high in ((shift, -0.25, 0.25), (np.log2(contrast), -1, 1), (np.log2(gamma), -2, 2)):
        assert low <= values.min() < 0.95 * low
        assert 0.95 * high < values.max() <= high
        assert abs(values.mean()) < 0.1 * high
    assert set(blurred) == {0, 1}
    assert 0.45 < blurred.mean() < 0.55


def test_strengths_of_zero_change_nothing():
    settings = IntensitySettings(brightness=0, contrast=0, gamma=0, blur_p=0)
    assert sample_exposures(np.random.default_rng(0), 3, settings).tolist() == [[0, 1, 1, 0]] * 3
