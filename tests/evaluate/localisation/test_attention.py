"""A backbone's heads as maps over unit squares."""

import numpy as np
import pytest

from medprior.evaluate.localisation.attention import AttentionSource
from medprior.geometry import AttentionViews
from medprior.networks import load_backbone


@pytest.fixture
def source(span_path):
    return AttentionSource(load_backbone(span_path), batch=2, device="cpu")


def test_every_head_has_a_map_of_every_image_in_order(source, cohort, span_path):
    some = cohort.take(5, 0)
    batches = list(source.batches(some, 40))
    assert [batch.shape for batch in batches] == [(2, 4, 40, 40), (2, 4, 40, 40), (1, 4, 40, 40)]
    whole = next(AttentionSource(load_backbone(span_path), device="cpu").batches(some, 40))
    np.testing.assert_allclose(np.concatenate(batches), whole, atol=1e-6)
    assert not np.allclose(whole[0], whole[1])


def test_maps_are_shares_of_the_patches(source, cohort):
    """A head's map sums to 1 over its 16 patches, so its mean over the unit square is about 1 / 16."""
    maps = next(source.batches(cohort.take(2, 0), 48))
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), 1 / 16, rtol=0.2)


def test_shifted_views_of_two_sizes_are_averaged(span_path, cohort):
    backbone, some = load_backbone(span_path), cohort.take(3, 0)
    plans = [AttentionViews((size,), True) for size in (1.0, 1.5)]
    small, large = (next(AttentionSource(backbone, 64, "cpu", plan).batches(some, 32)) for plan in plans)
    both = list(AttentionSource(backbone, 5, "cpu", AttentionViews((1.0, 1.5), True)).batches(some, 32))
    assert [len(batch) for batch in both] == [1, 1, 1]  # five views at once: four of one image
    np.testing.assert_allclose(np.concatenate(both), (small + large) / 2, atol=2e-3)
    plain = next(AttentionSource(backbone, 64, "cpu").batches(some, 32))
    assert not np.allclose(small, plain)


def test_assigned_heads_are_those_of_the_backbone_and_any_head_may_be_searched(span_path):
    backbone = load_backbone(span_path)
    source = AttentionSource(backbone, device="cpu")
    assert source.assigned == {"left_lung": 0, "right_lung": 1, "heart": 2}
    assert (source.count, source.has_selectable_maps) == (4, True)
    assert not source.network.training
    source.assigned.clear()
    assert backbone.heads
