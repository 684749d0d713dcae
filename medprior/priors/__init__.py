"""Spatial priors: where each structure is expected, from one annotated radiograph or from none."""

from medprior.priors.build import build_prior
from medprior.priors.prior import SpatialPrior
from medprior.priors.settings import PriorSettings

__all__ = ["PriorSettings", "SpatialPrior", "build_prior"]
