"""Block masks (BEiT, arXiv 2106.08254) with ratios spread as in DINOv2's code."""

import numpy as np
import pytest

from medprior.pretrain.objectives.masking import sample_block_mask, sample_patch_masks
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
