"""Predicts on radiographs with a model, registers and promotes models in MLflow, and serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.deploy.inference.predict_files import predict_path
    from medprior.deploy.inference.prediction import RadiographPrediction
    from medprior.deploy.inference.predictor import Predictor
    from medprior.deploy.registry.load import load_model
    from medprior.deploy.registry.register import register_model
    from medprior.tracking.mlflow_run import track_stage

__all__ = ["Predictor", "RadiographPrediction", "load_model", "predict_path", "register_model", "track_stage"]

# A tracked stage without torch does not load torch.
__getattr__ = import_on_first_use(
    __name__,
    {
        "Predictor": ".inference.predictor",
        "RadiographPrediction": ".inference.prediction",
        "load_model": ".registry.load",
        "predict_path": ".inference.predict_files",
        "register_model": ".registry.register",
        "track_stage": "medprior.tracking.mlflow_run",
    },
)
