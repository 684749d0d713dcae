"""Deploy: MLflow runs and registry, and one predictor for command line, registry and Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.deploy.inference.predict_files import predict_path
    from medprior.deploy.inference.prediction import Reading
    from medprior.deploy.inference.predictor import Predictor
    from medprior.deploy.registry.load import load_model
    from medprior.deploy.registry.register import register
    from medprior.tracking.run_observer import tracked

__all__ = ["Predictor", "Reading", "load_model", "predict_path", "register", "tracked"]

_HOMES = {
    "Predictor": "medprior.deploy.inference.predictor",
    "Reading": "medprior.deploy.inference.prediction",
    "load_model": "medprior.deploy.registry.load",
    "predict_path": "medprior.deploy.inference.predict_files",
    "register": "medprior.deploy.registry.register",
    "tracked": "medprior.tracking.run_observer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a tracked stage without torch must not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
