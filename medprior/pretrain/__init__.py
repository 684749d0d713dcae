"""Pretraining: SPAN, and DINO as the domain-agnostic baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.pretrain.pipeline import Pretraining, pretrain_backbone
    from medprior.pretrain.settings import PretrainSettings

__all__ = ["PretrainSettings", "Pretraining", "pretrain_backbone"]


def __getattr__(name: str) -> Any:
    # The trainer needs MONAI's engines, seconds to import; rooms that only share a loss do not.
    if name not in __all__:
        raise AttributeError(name)
    from importlib import import_module

    module = "settings" if name == "PretrainSettings" else "pipeline"
    return getattr(import_module(f"medprior.pretrain.{module}"), name)
