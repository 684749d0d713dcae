"""Predicts on radiographs with a model, registers and promotes models in MLflow, and serves them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.deploy.inference.predict_files import predict_path
    from medprior.deploy.inference.prediction import RadiographPrediction
    from medprior.deploy.inference.predictor import Predictor
    from medprior.deploy.registry.load import load_model
    from medprior.deploy.registry.register import register_model
    from medprior.tracking.mlflow_run import track_stage

__all__ = ["Predictor", "RadiographPrediction", "load_model", "predict_path", "register_model", "track_stage"]

_MODULE_BY_NAME = {
    "Predictor": "medprior.deploy.inference.predictor",
    "RadiographPrediction": "medprior.deploy.inference.prediction",
    "load_model": "medprior.deploy.registry.load",
    "predict_path": "medprior.deploy.inference.predict_files",
    "register_model": "medprior.deploy.registry.register",
    "track_stage": "medprior.tracking.mlflow_run",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that a tracked stage without torch does not load torch."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_BY_NAME[name]), name)
