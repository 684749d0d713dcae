"""Spatial entropy of attention: how scattered a map is over separate regions.

Source: SAR (arXiv 2206.04636; helia95/SAR, `attention_losses.py`), rewritten from its description for any grid, empty
maps and gradients without NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medprior.pretrain.objectives.components import Connectivity, label_components


def compute_spatial_entropy(
    logits: Tensor, grid: tuple[int, int], connectivity: Connectivity = 8, visible: Tensor | None = None
) -> Tensor:
    """Entropy of the mass in the connected regions above a map's mean.

    Args:
        logits: scaled scores before softmax [..., N] in raster order; softmax would change the measure.
        grid: (rows, columns), N = rows * columns.
        connectivity: 8 as in the authors' code, or 4.
        visible: bool, broadcast to [..., N]; other patches count as off and not in the mean (our choice, for masked
            views).

    Returns:
        float32 or float64 [...], nats: 0 for one region or a constant map, ln n for n equal regions. Invariant to scale
        and shift of the map. Regions are constant for the gradient, the mean is not.
    """
    with torch.autocast(logits.device.type, enabled=False):
        precise = logits if logits.dtype == torch.float64 else logits.float()
        maps = precise.reshape(-1, logits.shape[-1])
        if visible is None:
            above = maps - maps.mean(-1, keepdim=True)
            on = above > 0
        else:
            keep = visible.expand_as(logits).reshape(-1, logits.shape[-1])
            count = keep.sum(-1, keepdim=True).clamp_min(1)
            above = maps - (maps * keep).sum(-1, keepdim=True) / count
            on = (above > 0) & keep
        labels = label_components(on.reshape(-1, *grid), connectivity).flatten(1)
        mass = torch.where(on, above, 0.0)
        regions = torch.zeros_like(mass).scatter_add(1, labels, mass)
        whole = regions.sum(-1, keepdim=True)
        share = regions / torch.where(whole > 0, whole, 1.0)
        # The guard stands before the logarithm: entr(0) has an infinite slope, and 0 * inf is NaN.
        positive = share > 0
        safe = torch.where(positive, share, 1.0)
        return -(safe * safe.log()).sum(-1).reshape(logits.shape[:-1])
