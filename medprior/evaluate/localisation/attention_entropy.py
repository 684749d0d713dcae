"""Spatial entropy of the attention of a backbone's free heads, image by image."""

from __future__ import annotations

import numpy as np
import torch

from medprior.cohort import Cohort
from medprior.metrics.auc import Floats
from medprior.networks import Backbone
from medprior.networks.cohort_attention import iterate_whole_views
from medprior.networks.device import select_device
from medprior.pretrain.objectives.sar import list_free_heads
from medprior.pretrain.objectives.spatial_entropy import compute_spatial_entropy


@torch.no_grad()
def compute_free_head_entropy(backbone: Backbone, cohort: Cohort, batch: int, device: str) -> Floats:
    """Spatial entropy of the CLS attention (SAR, arXiv 2206.04636), mean over the free heads.

    Args:
        backbone: encodes whole images.
        cohort: its images, in order.
        batch: images at once.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        float64 [n], nats: 0 for one region, ln r for r equal ones; NaN where every head is assigned
        to a structure.
    """
    torch_device = select_device(device)
    network = backbone.network.to(torch_device).eval()
    free_heads = list_free_heads(network.settings.heads, backbone.heads.values())
    if not free_heads:
        return np.full(len(cohort), np.nan)
    entropies = []
    for images, _ in iterate_whole_views(cohort, backbone.size, network.settings.patch, batch, torch_device):
        tokens = network(images, capture=True)
        assert tokens.cls_logits is not None
        entropies.append(compute_spatial_entropy(tokens.cls_logits[:, free_heads], tokens.grid).mean(1).cpu())
    return torch.cat(entropies).double().numpy()
