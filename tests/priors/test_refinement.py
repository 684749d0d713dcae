from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks import ViTSettings, build_encoder, load_backbone, save_weights
from medprior.networks.cohort_attention import compute_cohort_attention
from medprior.priors import SpatialPrior, refinement
from medprior.priors.refinement import blend_with_attention, refine_prior, select_top_mass
from medprior.priors.settings import RefineSettings
from medprior.provenance import write_config


def test_blend_moves_only_what_agrees():
    maps = np.zeros((1, 2, 16, 16), np.float32)
    maps[0, 0, 4:12, 4:12], maps[0, 1, :4, :4] = 1, 1
    attention = np.full((1, 2, 16, 16), 1e-9, np.float32)
    attention[0, 0, 4:12, 5:13], attention[0, 1, 10:, 10:] = 1, 1
    after, agreed = blend_with_attention(maps, attention, RefineSettings(mass=0.99))
    assert agreed.tolist() == [[True, False]]
    np.testing.assert_array_equal(after[0, 1], maps[0, 1])
    np.testing.assert_allclose(after[0, 0, 5, [4, 5, 12, 13]], [0.7, 1, 0.3, 0], atol=1e-6)
    assert select_top_mass(attention, 0.99)[0, 0].sum() == 64


def test_agreement_at_the_limit_does_not_count():
    maps = np.zeros((1, 1, 4, 4), np.float32)
    maps[0, 0, 0] = 0.5  # four pixels, just inside
    attention = np.zeros_like(maps)
    attention[0, 0, 0, :2] = 1  # two of them: IoU 1/2
    assert not blend_with_attention(maps, attention, RefineSettings(mass=0.9, least_iou=0.5))[1].any()
    after, agreed = blend_with_attention(maps, attention, RefineSettings(mass=0.9, least_iou=0.49, share=0.2))
    assert agreed.all()
    np.testing.assert_allclose(after[0, 0, 0], [0.6, 0.6, 0.4, 0.4])


def test_top_mass_is_the_fewest_brightest_pixels_with_their_ties():
    attention = np.array([[[4.0, 1.0], [3.0, 2.0]]], np.float32)
    assert select_top_mass(attention, 0.69).tolist() == [[[True, False], [True, False]]]
    assert select_top_mass(attention, 0.71).tolist() == [[[True, False], [True, True]]]
    level = np.array([[[2.0, 1.0], [1.0, 0.0]]], np.float32)
    assert select_top_mass(level, 0.6).tolist() == [[[True, True], [True, False]]]
    assert not select_top_mass(np.zeros((1, 2, 2), np.float32), 0.6).any()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A small random backbone whose heads 1 and 2 were trained on the heart and the left lung."""
    folder = tmp_path_factory.mktemp("backbone")
    settings = ViTSettings(width=24, depth=1, heads=3, patch=8, image_size=32)
    torch.manual_seed(0)
    save_weights(folder / "backbone.safetensors", build_encoder(settings))
    facts = {"network": settings.model_dump(), "heads": {"heart": 1, "left_lung": 2}, "view_size": 32}
    write_config(folder, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    return folder


def small_prior(cohort, names):
    """Full maps of every image, uint8 [n, K, 16, 16]."""
    per_image = np.full((len(cohort), len(names), 16, 16), 255, np.uint8)
    table = pd.DataFrame({"image_id": cohort.image_ids})
    maps = np.ones((len(names), 16, 16), np.float32)
    return SpatialPrior(maps, names, "registered", "annotation", per_image=per_image, table=table)


def test_a_structure_without_a_head_is_refused(thoraxes, backbone):
    prior = small_prior(thoraxes.select(["t001"]), ("heart", "right_lung"))
    with pytest.raises(ConfigError, match="trained on right_lung"):
        refine_prior(prior, thoraxes.select(["t001"]), backbone, RefineSettings())


def test_every_image_is_blended_with_its_own_heads(thoraxes, backbone, monkeypatch):
    monkeypatch.setattr(refinement, "ATTENTION_BATCH_SIZE", 2)
    part = thoraxes.select(["t001", "t002", "t003"])
    prior = small_prior(part, ("left_lung", "heart"))
    refined = refine_prior(prior, part, backbone, RefineSettings(mass=0.6, least_iou=0.1, share=0.2))
    assert refined.method == "refined"
    assert refined.table.blended.tolist() == [2, 2, 2]
    assert set(np.unique(refined.per_image)) == {204, 255}
    assert (prior.per_image == 255).all()
    network = load_backbone(backbone).network
    (attention,) = compute_cohort_attention(network, part, 32, 16, 3, torch.device("cpu"))
    attended = select_top_mass(attention[:, [2, 1]], 0.6)
    np.testing.assert_array_equal(refined.per_image == 255, attended)
    kept = refine_prior(prior, part, backbone, RefineSettings(mass=0.6, least_iou=1.0))
    assert kept.table.blended.tolist() == [0, 0, 0]
    annotated = replace(prior, excluded=frozenset({"t002"}))
    refined = refine_prior(annotated, part, backbone, RefineSettings(mass=0.6, least_iou=0.1, share=0.2))
    assert refined.table.blended.tolist() == [2, 0, 2]
    assert (refined.per_image[1] == 255).all()
    np.testing.assert_array_equal(kept.per_image, prior.per_image)
