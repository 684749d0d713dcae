"""Deploy: MLflow runs and registry, and one predictor for command line, registry and Python."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.deploy.load import load_model
    from medprior.deploy.predict import predict_path
    from medprior.deploy.predictor import Predictor
    from medprior.deploy.reading import Reading
    from medprior.deploy.registry import register
    from medprior.deploy.tracking import tracked

__all__ = ["Predictor", "Reading", "load_model", "predict_path", "register", "tracked"]

_HOMES = {
    "Predictor": "predictor",
    "Reading": "reading",
    "load_model": "load",
    "predict_path": "predict",
    "register": "registry",
    "tracked": "tracking",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a tracked stage without torch must not load torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
