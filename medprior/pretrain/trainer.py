"""Pretraining as a MONAI trainer, so that MONAI handlers and bundles can drive it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.trainer import Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from medprior.errors import TrainingFailed
from medprior.pretrain.augment import ViewMaker
from medprior.pretrain.batches import step_indices
from medprior.pretrain.dataset import Sample, SquaresDataset, StepSampler, share
from medprior.pretrain.learner import Learner, PriorMaps
from medprior.pretrain.ranks import total, world
from medprior.pretrain.schedules import cosine, warm_cosine, warm_hold
from medprior.pretrain.settings import PretrainSettings

MOST_SKIPPED = 10


class PretrainTrainer(Trainer):
    """One iteration is one step: views, losses, update of student, then of teacher.

    Args:
        learner: student, teacher and centre.
        loader: batches of `SquaresDataset`.
        settings: resolved settings.
        heads: head assigned to each structure of the prior, in its order; empty without a prior.
        device: where to train.
        handlers: MONAI or ignite handlers.
    """

    def __init__(
        self,
        learner: Learner,
        loader: DataLoader[Sample],
        settings: PretrainSettings,
        heads: Sequence[int],
        device: torch.device,
        handlers: Sequence[Any] = (),
    ) -> None:
        assert isinstance(loader.dataset, SquaresDataset)
        assert isinstance(loader.batch_sampler, StepSampler)
        self.dataset, self.sampler = loader.dataset, loader.batch_sampler
        assert settings.steps is not None
        assert settings.epochs is not None
        super().__init__(
            device=device,
            max_epochs=settings.epochs,
            data_loader=loader,
            epoch_length=settings.steps // settings.epochs,
            decollate=False,
            iteration_update=self.step,
        )
        self.learner = learner.to(device)
        self.settings = settings
        self.views = ViewMaker(settings)
        self.heads = torch.tensor(list(heads), dtype=torch.long, device=device)
        self.optimiser = make_optimiser(learner.student, settings)
        self.student: nn.Module = learner.student
        if world() > 1:
            self.student = DistributedDataParallel(learner.student)
        self.skipped = 0
        self._register_handlers(list(handlers))

    def progress(self) -> float:
        """Share of the run that is done, by the current step."""
        assert self.settings.steps is not None
        return float((self.state.iteration - 1) / self.settings.steps)

    def span_weight(self) -> float:
        """Weight of SPAN at the current step; 0 without a prior."""
        span = self.settings.span
        if not len(self.heads):
            return 0.0
        return warm_hold(span.weight, span.floor, span.warmup, self.progress())

    def step(self, engine: Engine, batch: Any) -> dict[str, float]:
        """One training step; returns what is logged. A non-finite loss changes nothing."""
        self.learner.train()
        torch.manual_seed(self.settings.seed * 1_000_003 + self.state.iteration)
        with torch.autocast(
            self.state.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16"
        ):
            losses, logs = self._losses(batch)
        dino = self.settings.dino
        weights = {"dino": 1.0, "koleo": dino.koleo_weight, "span": self.span_weight()}
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        mean = {name: float(total(value.detach()) / world()) for name, value in losses.items()}
        if math.isfinite(sum(mean.values())):
            self._update(loss)
            self.skipped = 0
        else:
            self._skip()
        logs |= {f"loss_{name}": value for name, value in mean.items()}
        logs |= {"loss": float(sum(weights[k] * v for k, v in mean.items()))}
        logs |= {"lr": self.optimiser.param_groups[0]["lr"], "span_weight": weights["span"]}
        return logs

    def _losses(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
        device, whole = self.state.device, self.settings.batch
        images = batch["image"].to(device, non_blocking=True)
        prior = None
        if len(self.heads) and self.settings.span.weight > 0:
            prior = PriorMaps(batch["maps"].to(device), batch["trust"].to(device), self.heads)
        step = self.state.iteration - 1
        aspect = self.dataset.aspect[self._whole_batch(step)]
        global_views, local_views = self.views(images, aspect, step, share(whole), whole)
        return self.learner.losses(self.student, global_views, local_views, prior)

    def _whole_batch(self, step: int) -> Any:
        return step_indices(self.settings.seed, step, len(self.dataset), self.settings.batch)

    def _update(self, loss: Tensor) -> None:
        settings, progress = self.settings.optimiser, self.progress()
        rate = warm_cosine(settings.lr, settings.final_lr, settings.warmup, progress + 1e-9)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
            if group["decays"]:
                group["weight_decay"] = cosine(*settings.weight_decay, progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learner.student.parameters(), settings.clip)
        self.optimiser.step()
        assert self.settings.dino.teacher_momentum is not None
        self.learner.follow(cosine(self.settings.dino.teacher_momentum, 1.0, progress))

    def _skip(self) -> None:
        self.skipped += 1
        if self.skipped > MOST_SKIPPED:
            raise TrainingFailed(
                f"the loss was not finite for {self.skipped} steps in a row",
                fix="lower optimiser.lr, or use precision=fp32; the last checkpoint is finite",
            )


def make_optimiser(student: nn.Module, settings: PretrainSettings) -> torch.optim.AdamW:
    """AdamW; matrices decay, vectors and biases do not."""
    groups = []
    for decays in (True, False):
        chosen = [p for p in student.parameters() if (p.ndim > 1) == decays]
        decay = settings.optimiser.weight_decay[0] if decays else 0.0
        groups.append({"params": chosen, "decays": decays, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=settings.optimiser.lr, betas=(0.9, 0.999))
