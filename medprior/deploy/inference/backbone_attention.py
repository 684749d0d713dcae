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
from medprior.geometry import AttentionViews
from medprior.networks.attention import compute_augmented_attention
from medprior.networks.backbone import Backbone

ATTENTION_VIEWS = AttentionViews()


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
    size = backbone.size
    side = round(size * max(ATTENTION_VIEWS.sizes)) * 3 // 2
    cells = size // backbone.network.settings.patch
    device = next(backbone.network.parameters()).device
    square = torch.from_numpy(resize_pixels(pixels, side, side).astype(np.float32)).to(device)
    heads = list(backbone.heads.values()) or slice(None)
    height, width = compute_resized_shape((rows, cols), ATTENTION_SIDE_PX)
    maps = compute_augmented_attention(
        backbone.network, square[None, None], np.array([cols / rows]), size, ATTENTION_VIEWS,
        lambda part, views: resample_to_image(part[:, heads] * cells**2, views, height, width),
    )  # fmt: skip
    attention = maps[0].cpu().numpy()
    if not backbone.heads:
        return {"all_heads": attention.mean(axis=0)}
    return dict(zip(backbone.heads, attention, strict=True))
