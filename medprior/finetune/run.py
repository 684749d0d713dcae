"""All parts of one fine-tuning, before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.trainer import SupervisedTrainer

from medprior.cohort import Cohort
from medprior.finetune.assembly import Network
from medprior.finetune.data.dataset import LabelledImages
from medprior.finetune.handlers import (
    FinetuneCheckpointHandler,
    TrainingProgress,
)
from medprior.finetune.settings import FinetuneSettings

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class FinetuneRun:
    """All parts of one fine-tuning, before its first step."""

    settings: FinetuneSettings
    device: torch.device
    network: Network
    train: LabelledImages
    val: LabelledImages
    evaluator: SupervisedEvaluator
    trainer: SupervisedTrainer
    progress: TrainingProgress
    checkpoints: FinetuneCheckpointHandler
    heads: dict[str, int]
    splits: tuple[Cohort, Cohort]
