"""A prior of a test cohort, written as `medprior prior` writes it, from the cohort's own truth."""

import numpy as np
import pandas as pd

from medprior.priors import SpatialPrior
from medprior.provenance import write_config

SIDE = 32


def write_prior(folder, cohort, layers, trust=None, excluded=(), names=("heart",)):
    """Per-image maps `layers(image_id)` [K, SIDE, SIDE] in [0, 1]; `trust` by id, default 1."""
    ids = list(cohort.image_ids)
    maps = np.stack([layers(image_id) for image_id in ids]).astype(np.float32)
    table = pd.DataFrame({"image_id": ids, "trust": [(trust or {}).get(i, 1.0) for i in ids]})
    prior = SpatialPrior(
        maps.mean(axis=0), tuple(names), "affine", "annotation", frozenset(excluded),
        np.rint(maps * 255).astype(np.uint8), table,
    )  # fmt: skip
    prior.save(folder)
    write_config(
        folder, "prior", {}, outputs=("prior.npz", "per_image.npy", "per_image.parquet"),
    )  # fmt: skip
    return prior


def discs(cohort):
    """Image id -> [1, SIDE, SIDE]: the bright disc of `scene`, read off the picture itself."""
    squares = np.asarray(cohort.squares(SIDE))
    found = dict(zip(cohort.image_ids, squares > 0.5, strict=True))
    return lambda image_id: found[image_id][None].astype(np.float32)
