"""Pretraining: SPAN, and DINO as the domain-agnostic baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.pretrain.pipeline import Pretraining, pretrain_backbone
    from medprior.pretrain.settings import PretrainSettings

__all__ = ["PretrainSettings", "Pretraining", "pretrain_backbone"]

# The trainer needs MONAI's engines, seconds to import; rooms that only share a loss do not.
__getattr__ = import_on_first_use(
    __name__,
    {
        "PretrainSettings": ".settings",
        "Pretraining": ".pipeline",
        "pretrain_backbone": ".pipeline",
    },
)
