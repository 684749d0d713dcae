"""Random exposure changes of views; the geometry stays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medprior.networks.device import send_to_device
from medprior.settings import Settings


class IntensitySettings(Settings):
    """Strength of the exposure changes: no solarisation, no inversion of grey levels.

    Attributes:
        brightness: largest shift, as a share of the range.
        contrast: x of a factor sampled log-uniformly from [1 / (1 + x), 1 + x].
        gamma: x of an exponent sampled in the same way.
        blur_p: share of the views that are blurred (sigma 0.8 px).
    """

    brightness: float = 0.2
    contrast: float = 0.5
    gamma: float = 0.5
    blur_p: float = 0.3


def sample_exposures(rng: np.random.Generator, count: int, settings: IntensitySettings) -> NDArray[np.float64]:
    """Exposure parameters of `count` views, float64 [count, 4]: shift, contrast, gamma, blurred."""
    spread = np.log1p([settings.contrast, settings.gamma])
    return np.column_stack(
        [
            rng.uniform(-settings.brightness, settings.brightness, count),
            np.exp(rng.uniform(-spread[0], spread[0], count)),
            np.exp(rng.uniform(-spread[1], spread[1], count)),
            rng.random(count) < settings.blur_p,
        ]
    )


def apply_exposures(views: Tensor, exposures: NDArray[np.float64], sent: Tensor | None = None) -> Tensor:
    """Change the exposure of views in [0, 1]; the result stays in [0, 1].

    Args:
        views: [V, 1, S, S].
        exposures: of `sample_exposures`, [V, 4].
        sent: `exposures` in the views' dtype where they are on the views' device already.
    """
    if sent is None:
        sent = send_to_device(exposures, views.device).to(views.dtype)
    shift, contrast, gamma, blurred = (column[:, None, None, None] for column in sent.T)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    out: Tensor = ((views.clamp(0, 1) + 1e-6) ** gamma - mean) * contrast + mean + shift
    if (exposures[:, 3] > 0).any():  # asked on the host: the device would have to be waited for
        from torchvision.transforms.functional import gaussian_blur

        out = torch.where(blurred > 0, gaussian_blur(out, [5, 5], [0.8, 0.8]), out)
    return out.clamp(0, 1)
