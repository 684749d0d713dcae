"""Maps of a whole view, laid over the radiograph's own grid of pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from medprior.geometry import Views

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
    """The mask without stray pieces: the largest one kept, two for `lungs` (our choice).

    Of structures that may have any number of pieces all are kept. A piece under 0.5 % of the image
    is none.

    Args:
        mask: bool [rows, cols].
        structure: its name.
    """
    pieces = MAX_COMPONENTS.get(structure)
    if pieces is None or not mask.any():
        return mask
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    largest = np.argsort(sizes)[::-1][:pieces]
    kept = np.zeros(count + 1, dtype=bool)
    kept[[number + 1 for number in largest if sizes[number] >= MIN_COMPONENT_SHARE * mask.size]] = True
    return np.asarray(kept[labels])
