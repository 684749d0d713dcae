"""Resamples maps of a whole view to the radiograph's pixel grid, and removes stray mask components."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from medprior.geometry import Views, find_mask_box

MAX_COMPONENTS = {"left_lung": 1, "right_lung": 1, "heart": 1, "lungs": 2}
MIN_COMPONENT_SHARE = 0.005


def resample_to_image(maps: Tensor, views: Views, rows: int, cols: int) -> Tensor:
    """Sample the part of each view that shows its image.

    Args:
        maps: [V, C, h, w] of the views.
        views: the views.
        rows: rows of the image's grid.
        cols: columns of it.

    Returns:
        [V, C, rows, cols], bilinear.
    """
    theta = torch.as_tensor(views.inverse_affine(), dtype=torch.float32, device=maps.device)
    grid = F.affine_grid(theta, [len(views), 1, rows, cols], align_corners=False)
    return F.grid_sample(maps.float(), grid, padding_mode="border", align_corners=False)


def keep_largest_components(mask: NDArray[np.bool_], structure: str) -> NDArray[np.bool_]:
    """Keep a mask's largest connected component, two for `lungs` (our choice).

    Masks of other structures are returned unchanged. A component under 0.5 % of the image is dropped.

    Args:
        mask: bool [rows, cols].
        structure: its name.
    """
    max_components = MAX_COMPONENTS.get(structure)
    if max_components is None or not mask.any():
        return mask
    box = find_mask_box(mask)
    labels, count = ndimage.label(mask[box])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = np.argsort(sizes)[::-1][:max_components]
    is_kept = np.zeros(count + 1, dtype=bool)
    is_kept[[number + 1 for number in largest if sizes[number] >= MIN_COMPONENT_SHARE * mask.size]] = True
    kept = np.zeros_like(mask)
    kept[box] = is_kept[labels]
    return kept
