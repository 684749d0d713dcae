"""Block masks (BEiT, arXiv 2106.08254) with ratios spread as in DINOv2's code."""

import numpy as np
import pytest

from medprior.pretrain.objectives.masking import add_block, sample_block_mask, sample_patch_masks
from medprior.pretrain.objectives.objective_settings import IbotSettings


def test_masks_are_blocks_of_the_wanted_size():
    rng = np.random.default_rng(0)
    masks = sample_patch_masks(rng, 400, (14, 14), IbotSettings())
    share = masks.mean(1)
    masked = share[share > 0]
    assert len(masked) == 200
    assert 0.09 < masked.min() < 0.12
    assert 0.48 < masked.max() < 0.51
    assert masked.mean() == pytest.approx(0.3, abs=0.01)
    for count in (1, 5, 60, 195, 196):
        mask = sample_block_mask(rng, count, (14, 14), 0.3)
        assert mask.sum() == count
    # blocks: a hidden patch's neighbour is mostly hidden, of independent ones every third is
    together = []
    for _ in range(50):
        mask = sample_block_mask(rng, 59, (14, 14), 0.3)
        together.append((mask[:, 1:] & mask[:, :-1]).sum() / mask[:, 1:].sum())
    assert np.mean(together) > 0.55


def test_ratios_are_spread_over_the_masked_views():
    settings = IbotSettings(probability=1.0, ratio=(0.0, 0.8))
    counts = sample_patch_masks(np.random.default_rng(0), 4, (10, 10), settings).sum(1)
    assert all(20 * index <= count <= 20 * (index + 1) for index, count in enumerate(sorted(counts)))
    assert sample_patch_masks(np.random.default_rng(0), 5, (4, 4), IbotSettings(probability=0.0)).sum() == 0


def test_the_share_of_masked_views_is_exact():
    settings = IbotSettings(probability=0.75, ratio=(0.5, 0.5))
    masks = sample_patch_masks(np.random.default_rng(1), 8, (6, 4), settings)
    assert sorted(masks.sum(1)) == [0, 0, 12, 12, 12, 12, 12, 12]


def test_four_patches_of_equal_sides_are_a_square():
    for seed in range(5):
        rows, columns = np.nonzero(sample_block_mask(np.random.default_rng(seed), 4, (7, 9), 1.0))
        assert (np.ptp(rows), np.ptp(columns)) == (1, 1)


def test_a_block_adds_no_more_than_remains_and_stays_within_its_aspect():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = np.zeros((14, 14), dtype=bool)
        assert add_block(rng, mask, 30, 0.5)
        rows, columns = np.nonzero(mask)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height * width == mask.sum() <= 30
        assert 0.4 <= height / width <= 2.5  # 0.5 to 2, rounded to whole patches


def test_no_block_fits_a_full_mask():
    full = np.ones((5, 5), dtype=bool)
    assert not add_block(np.random.default_rng(0), full, 3, 0.3)
    assert full.all()


def test_a_block_may_hide_one_patch_and_reach_every_border():
    """Where one patch remains a block is that patch; over many draws each corner of the grid is hidden."""
    rng, hidden = np.random.default_rng(0), np.zeros((3, 4), dtype=bool)
    for _ in range(200):
        mask = np.zeros((3, 4), dtype=bool)
        assert add_block(rng, mask, 1, 0.3)
        assert mask.sum() == 1
        hidden |= mask
    assert hidden.all()


def test_blocks_have_four_patches_at_least_where_so_many_remain():
    rng, areas = np.random.default_rng(0), []
    for _ in range(300):
        mask = np.zeros((14, 14), dtype=bool)
        assert add_block(rng, mask, 40, 1.0)
        areas.append(int(mask.sum()))
    assert min(areas) == 4
    assert max(areas) == 36  # of a square within 40
    assert set(areas) == {4, 9, 16, 25, 36}


def test_blocks_are_as_often_upright_as_flat():
    rng, heights, widths = np.random.default_rng(0), [], []
    for _ in range(400):
        mask = np.zeros((20, 20), dtype=bool)
        assert add_block(rng, mask, 60, 0.25)
        rows, columns = np.nonzero(mask)
        heights.append(np.ptp(rows) + 1)
        widths.append(np.ptp(columns) + 1)
    assert np.mean(heights) == pytest.approx(np.mean(widths), rel=0.1)
    ratio = np.log(np.array(heights) / np.array(widths))
    assert ratio.min() < -1
    assert ratio.max() > 1


def test_a_full_rectangle_is_not_counted_as_added():
    """What a block covers already must not be all of it, so that each block adds a patch."""
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 6), dtype=bool)
    while not mask.all():
        before = int(mask.sum())
        if not add_block(rng, mask, 36 - before, 1.0):
            break
        assert int(mask.sum()) > before
