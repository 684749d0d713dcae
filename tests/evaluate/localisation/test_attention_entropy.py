"""How far free heads scatter, against regions walked one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medprior.evaluate.localisation.attention_entropy import compute_free_head_entropy
from medprior.metrics.bootstrap import Estimate
from medprior.metrics.differences import compare_spatial_entropies
from medprior.networks import load_backbone
from tests.evaluate.slow_twins import slow_scatter


@pytest.mark.parametrize("batch", [3, 64])
def test_scatter_is_the_mean_entropy_of_free_heads(cohort, span_path, dino_path, batch):
    some = cohort.split("test").take(10, 0)
    for path, free in ((span_path, [3]), (dino_path, [0, 1, 2, 3])):
        backbone = replace(load_backbone(path), size=64)  # more patches, more regions
        torch.manual_seed(0)
        for values in backbone.network.parameters():
            values.data.normal_()
        fast = compute_free_head_entropy(backbone, some, batch, "cpu")
        assert fast.shape == (10,)
        slow = slow_scatter(backbone.network, some, backbone.size, free)
        np.testing.assert_allclose(fast, slow, atol=1e-5)
        assert fast.max() > 0


def test_without_a_free_head_nothing_is_measured(cohort, span_path):
    backbone = load_backbone(span_path)
    backbone.heads["mediastinum"] = 3
    entropy = compute_free_head_entropy(backbone, cohort.split("test").take(4, 0), 2, "cpu")
    assert entropy.shape == (4,)
    assert np.isnan(entropy).all()


def test_relative_difference_is_paired():
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 2, 400)
    lower = Estimate(0.8 * 1.5, 0.8 * base, 9)
    key = "attention.spatial_entropy"
    differences = compare_spatial_entropies(
        {key: lower, "classification.mauc": lower}, {"dino": {key: Estimate(1.5, base, 9)}}
    )
    assert list(differences) == [f"relative_difference.dino.{key}"]
    (only,) = differences.values()
    assert only.value == pytest.approx(-0.2)
    assert only.interval() == pytest.approx((-0.2, -0.2))
    none = lower.relative_difference(Estimate(0.0, np.zeros(400), 9))
    assert np.isnan(none.value)
    assert none.record()["ci95"] == [None, None]
