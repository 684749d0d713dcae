"""Fine-tuning: classification and segmentation from a backbone or from scratch.

Names are imported on first access, so that the command line starts quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.finetune.model import Model, Prediction, load_finetuned_model
    from medprior.finetune.settings import FinetuneSettings
    from medprior.finetune.training import Finetuning, finetune_model

__all__ = ["FinetuneSettings", "Finetuning", "Model", "Prediction", "finetune_model", "load_finetuned_model"]
FINETUNE_EXPORTS = {
    "FinetuneSettings": "settings",
    "Finetuning": "training",
    "Model": "model",
    "Prediction": "model",
    "finetune_model": "training",
    "load_finetuned_model": "model",
}


def __getattr__(name: str) -> Any:
    if name not in FINETUNE_EXPORTS:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"medprior.finetune.{FINETUNE_EXPORTS[name]}"), name)
