"""A prior for the phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medprior.phantom import render_phantom
from medprior.priors import SpatialPrior
from medprior.provenance import write_config

from ..conftest import STRUCTURES


@pytest.fixture(scope="session")
def phantom_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blurless masks of one phantom that is in no cohort."""
    folder = tmp_path_factory.mktemp("prior") / "prior"
    masks = render_phantom(10_007, size=128).masks
    maps = np.stack([masks[name].astype(np.float32) for name in STRUCTURES])
    SpatialPrior(maps, STRUCTURES, "static", "annotation").save(folder)
    write_config(folder, "prior", {}, outputs=("prior.npz",))
    return folder
