"""Pretraining: SPAN, and DINO as the domain-agnostic baseline."""

from medprior.pretrain.pretrain import Pretraining, pretrain
from medprior.pretrain.settings import PretrainSettings

__all__ = ["PretrainSettings", "Pretraining", "pretrain"]
