"""Spatial priors: where each structure is expected, from one annotated radiograph or from none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.priors.build import build_prior
    from medprior.priors.prior import SpatialPrior
    from medprior.priors.settings import PriorSettings

__all__ = ["PriorSettings", "SpatialPrior", "build_prior"]

__getattr__ = import_on_first_use(
    __name__,
    {
        "PriorSettings": ".settings",
        "SpatialPrior": ".prior",
        "build_prior": ".build",
    },
)
