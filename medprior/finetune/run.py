"""The parts of one fine-tuning run: data, network, engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.trainer import SupervisedTrainer

from medprior.cohort import Cohort
from medprior.finetune.assembly import Network
from medprior.finetune.data.dataset import LabelledImages
from medprior.finetune.handlers import FinetuneCheckpointHandler, TrainingProgress
from medprior.finetune.settings import FinetuneSettings


@dataclass(frozen=True)
class FinetuneRun:
    """The parts of one fine-tuning run, before its first step.

    Attributes:
        heads: structure -> attention head that follows it.
        familiarity_splits: images that the out-of-distribution detector and its limit are fitted on.
        weights_facts: what was loaded from a file of published weights; empty without one.
    """

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
    familiarity_splits: tuple[Cohort, Cohort]
    weights_facts: dict[str, Any] = field(default_factory=dict)
