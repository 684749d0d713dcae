"""Attention of the backbone that a model started from."""

import numpy as np
import pytest
import torch

from medprior.deploy.inference.backbone_attention import compute_structure_attention
from medprior.geometry import create_whole_image_views
from medprior.networks import Backbone, ViTSettings, build_encoder
from medprior.networks.attention import compute_attention_maps
from medprior.networks.views import crop_views


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    shape = {"width": 24, "depth": 1, "heads": 3, "patch": 8, "registers": 1, "image_size": 32}
    return Backbone(build_encoder(ViTSettings.from_values(shape)).eval(), {"heart": 2, "left_lung": 0}, 32, {})


def test_maps_are_those_of_the_heads_of_structures_with_mean_one(backbone):
    pixels = np.random.default_rng(0).random((60, 60), dtype=np.float32)
    maps = compute_structure_attention(backbone, pixels)
    assert list(maps) == ["heart", "left_lung"]
    assert all(value.shape == (60, 60) and value.dtype == np.float32 for value in maps.values())
    plain = compute_attention_maps(
        backbone.network,
        crop_views(
            torch.from_numpy(pixels)[None, None], create_whole_image_views(np.ones(1), (4, 4)), 32,
            torch.zeros(1, dtype=torch.long),
        ),
    )  # fmt: skip
    for name, head in backbone.heads.items():
        # The CLS row also looks at CLS and registers: less than 1 in the mean.
        assert maps[name].mean() == pytest.approx(float(plain[0, head].sum()), rel=0.05)


def test_maps_lie_on_the_radiographs_frame(backbone):
    wide = compute_structure_attention(backbone, np.zeros((400, 1600), np.float32))["heart"]
    assert wide.shape == (128, 512)


def test_shifts_smooth_the_grid_of_patches(backbone):
    pixels = np.random.default_rng(1).random((64, 64), dtype=np.float32)
    views = create_whole_image_views(np.ones(1), (4, 4))
    crop = crop_views(torch.from_numpy(pixels)[None, None], views, 32, torch.zeros(1, dtype=torch.long))
    single = compute_attention_maps(backbone.network, crop)[0, 2].numpy()
    smooth = compute_structure_attention(backbone, pixels)["heart"]
    assert smooth.std() < (single * single.size).std()
