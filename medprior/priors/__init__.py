"""Spatial priors: where each structure is expected, from one annotated radiograph or from none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.priors.build import build_prior
    from medprior.priors.prior import SpatialPrior
    from medprior.priors.settings import PriorSettings

__all__ = ["PriorSettings", "SpatialPrior", "build_prior"]

_MODULE_BY_NAME = {"PriorSettings": "settings", "SpatialPrior": "prior", "build_prior": "build"}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the command line starts quickly."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"medprior.priors.{_MODULE_BY_NAME[name]}"), name)
