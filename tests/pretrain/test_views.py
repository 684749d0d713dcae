"""Crops, exposures and batches: functions of seed and step alone."""

import numpy as np
import pytest
import torch

from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewMaker
from medprior.pretrain.views.batches import compute_step_indices
from medprior.pretrain.views.crops import sample_crops
from medprior.pretrain.views.intensity import IntensitySettings, apply_exposures, sample_exposures


def test_crops_have_the_asked_area_and_true_aspect():
    aspect = np.array([0.8, 1.25, 1.0])
    views = sample_crops(np.random.default_rng(0), aspect, 200, (0.5, 1.0), (4, 4))
    area = views.box[:, 2] * views.box[:, 3]
    assert 0.49 < area.min() < 0.52
    assert 0.98 < area.max() <= 1.001
    physical = views.box[:, 3] * np.tile(aspect, 200) / views.box[:, 2]
    assert physical.min() > 0.74
    assert physical.max() < 1.34
    inside = (views.box[:, :2] >= 0) & (views.box[:, :2] + views.box[:, 2:] <= 1)
    fits = views.box[:, 2:] <= 1
    assert inside[fits].all()


def test_every_image_once_an_epoch_even_across_batches():
    seen = np.concatenate([compute_step_indices(3, step, 10, 4) for step in range(5)])
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert (compute_step_indices(3, 2, 10, 4) == compute_step_indices(3, 2, 10, 4)).all()


def test_exposure_stays_in_range_and_keeps_geometry():
    images = torch.rand(8, 1, 16, 16)
    drawn = sample_exposures(np.random.default_rng(0), 8, IntensitySettings())
    out = apply_exposures(images, drawn)
    assert out.min() >= 0
    assert out.max() <= 1
    neutral = np.tile([0.0, 1.0, 1.0, 0.0], (8, 1))
    assert torch.allclose(apply_exposures(images, neutral), images, atol=1e-5)


@pytest.mark.parametrize("step", range(8))
def test_processes_together_make_the_views_of_one(step):
    settings = PretrainSettings.checked({"batch": 4, "crops": {"locals": 2}})
    images, aspect = torch.rand(4, 1, 144, 144), np.ones(4)
    maker = ViewMaker(settings)
    whole = maker(images, aspect, step, slice(0, 4), 4)
    halves = [maker(images[p], aspect, step, p, 4) for p in (slice(0, 2), slice(2, 4))]
    for kind in range(2):
        parts = [half[kind].pixels.unflatten(0, (2, 2)) for half in halves]
        assert torch.equal(whole[kind].pixels.unflatten(0, (2, 4)), torch.cat(parts, dim=1))
