"""Fine-tuning: classification and segmentation from a backbone or from scratch.

Names are imported on first access, so that the command line starts quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.finetune.model import Model, Prediction, load_finetuned_model
    from medprior.finetune.settings import FinetuneSettings
    from medprior.finetune.training import Finetuning, finetune_model

__all__ = ["FinetuneSettings", "Finetuning", "Model", "Prediction", "finetune_model", "load_finetuned_model"]

__getattr__ = import_on_first_use(
    __name__,
    {
        "FinetuneSettings": ".settings",
        "Finetuning": ".training",
        "Model": ".model",
        "Prediction": ".model",
        "finetune_model": ".training",
        "load_finetuned_model": ".model",
    },
)
