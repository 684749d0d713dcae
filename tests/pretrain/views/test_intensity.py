"""Exposure changes stay in range and can be neutral."""

import numpy as np
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
