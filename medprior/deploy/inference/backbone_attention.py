"""Attention of a pretrained backbone over one radiograph, by structure.

Fine-tuning lets heads drift off their structures; the backbone that a model started from keeps them. Maps are the mean
of four views, shifted by half a patch, which halves the grid that patches leave in them (our choice).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from medprior.dicom.display.resample import compute_resized_shape, resize_pixels
from medprior.finetune.image_grid import resample_to_image
from medprior.finetune.model import ATTENTION_SIDE_PX, validate_pixels
from medprior.geometry import Views, create_whole_image_views
from medprior.networks.attention import compute_attention_maps
from medprior.networks.backbone import Backbone
from medprior.networks.views import crop_views

SHIFTS_PATCHES = ((0.25, 0.25), (0.25, -0.25), (-0.25, 0.25), (-0.25, -0.25))


def shift_views(view: Views) -> Views:
    """Four copies of one view, shifted by a quarter of a patch down or up, right or left."""
    rows, columns = view.grid
    patch = view.box[0, 2:] / np.array([rows, columns])
    box = np.repeat(view.box, len(SHIFTS_PATCHES), axis=0)
    box[:, :2] += np.array(SHIFTS_PATCHES) * patch
    return Views(box, np.repeat(view.flip, len(SHIFTS_PATCHES)), view.grid)


@torch.inference_mode()
def compute_structure_attention(backbone: Backbone, pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Attention of each structure's head over the radiograph's frame.

    Args:
        backbone: the pretrained network.
        pixels: float32 [rows, cols] in [0, 1], square pixels, air dark.

    Returns:
        Structure -> float32 [h, w] >= 0, longest side at most 512; 1 is the mean over the patches. `all_heads`, their
        mean, for a backbone without heads trained on structures.

    Raises:
        ConfigError: `pixels` is no such image.
    """
    validate_pixels(pixels)
    rows, cols = pixels.shape
    size, side = backbone.size, backbone.size * 3 // 2
    cells = size // backbone.network.settings.patch
    device = next(backbone.network.parameters()).device
    square = torch.from_numpy(resize_pixels(pixels, side, side).astype(np.float32)).to(device)
    views = shift_views(create_whole_image_views(np.array([cols / rows]), (cells, cells)))
    images = crop_views(square[None, None], views, size, torch.zeros(len(views), dtype=torch.long, device=device))
    maps = compute_attention_maps(backbone.network, images) * cells**2
    if backbone.heads:
        maps = maps[:, list(backbone.heads.values())]
    height, width = compute_resized_shape((rows, cols), ATTENTION_SIDE_PX)
    attention = resample_to_image(maps, views, height, width).mean(dim=0).cpu().numpy()
    if not backbone.heads:
        return {"all_heads": attention.mean(axis=0)}
    return dict(zip(backbone.heads, attention, strict=True))
