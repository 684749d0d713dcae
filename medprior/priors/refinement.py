"""Refines a registered prior with the attention of a pretrained backbone.

Where the attention of a head agrees with the map that it was trained on, the two are blended;
elsewhere the registered map stays as it is. A refined prior is never refined again (our choice).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.errors import ConfigError
from medprior.priors.prior import UINT8_MAX, SpatialPrior
from medprior.priors.settings import RefineSettings

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]
ATTENTION_BATCH_SIZE = 64


def refine_prior(prior: SpatialPrior, cohort: Cohort, backbone: Path, settings: RefineSettings) -> SpatialPrior:
    """The prior with its per-image maps blended with the backbone's attention; annotated images keep their own masks.

    Args:
        prior: fitted to the images of `cohort`, in their order.
        cohort: the same cohort.
        backbone: folder of a backbone whose heads were trained on the prior's structures.
        settings: share of the attention, and the least agreement.

    Raises:
        ConfigError: the backbone has no head for a structure.
    """
    from medprior.networks import load_backbone
    from medprior.networks.cohort_attention import compute_cohort_attention
    from medprior.networks.device import select_device

    assert prior.per_image is not None
    assert prior.table is not None
    loaded = load_backbone(backbone)
    missing = [name for name in prior.names if name not in loaded.heads]
    if missing:
        raise ConfigError(
            f"no head of the backbone was trained on {missing[0]}",
            where="--backbone", expected=", ".join(prior.names),
            found=", ".join(loaded.heads) or "a backbone without a prior",
            fix="pretrain with a prior of these structures",
        )  # fmt: skip
    heads = [loaded.heads[name] for name in prior.names]
    device = select_device("auto")
    network = loaded.network.to(device).eval()
    size = prior.maps.shape[-1]
    maps = np.array(prior.per_image)
    blended, start = np.zeros(len(maps), dtype=np.int64), 0
    for attention in compute_cohort_attention(network, cohort, loaded.size, size, ATTENTION_BATCH_SIZE, device):
        part = slice(start, start + len(attention))
        before = maps[part].astype(np.float32) / np.float32(UINT8_MAX)
        after, agreed = blend_with_attention(before, attention[:, heads], settings)
        maps[part] = np.rint(after * UINT8_MAX).astype(np.uint8)
        blended[part] = agreed.sum(axis=1)
        start += len(attention)
    own = prior.table.image_id.isin(prior.excluded).to_numpy()
    maps[own], blended[own] = prior.per_image[own], 0
    table = prior.table.assign(blended=blended)
    return replace(prior, method="refined", per_image=maps, table=table)


def blend_with_attention(maps: Maps, attention: Maps, settings: RefineSettings) -> tuple[Maps, Masks]:
    """Maps blended with attention where the two agree, and where they agree.

    Shape:
        maps: float32 [n, K, s, s] in [0, 1]. attention: the same shape, >= 0.
        float32 [n, K, s, s] in [0, 1]; bool [n, K].
    """
    attended = select_top_mass(attention, settings.mass)
    inside = maps >= 0.5
    both = (attended & inside).sum(axis=(-2, -1))
    union = (attended | inside).sum(axis=(-2, -1))
    agreed = both > settings.least_iou * np.maximum(union, 1)
    share = settings.share * agreed[..., None, None].astype(np.float32)
    return (1 - share) * maps + share * attended, agreed


def select_top_mass(attention: Maps, mass: float) -> Masks:
    """The brightest pixels that hold `mass` of each map: bool, the shape of `attention`."""
    flat = attention.reshape(*attention.shape[:-2], -1)
    descending = -np.sort(-flat, axis=-1)
    sums = np.cumsum(descending, axis=-1, dtype=np.float64)
    last = (sums < mass * sums[..., -1:]).sum(axis=-1, keepdims=True)
    least = np.take_along_axis(descending, np.minimum(last, flat.shape[-1] - 1), axis=-1)
    return np.asarray((flat >= least) & (flat > 0)).reshape(attention.shape)
