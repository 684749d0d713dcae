"""The MONAI engines of fine-tuning, built part by part so that a bundle can name each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Loss as MeanLoss
from monai.data.dataloader import DataLoader
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.trainer import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import Sampler

from medprior.errors import TrainingDiverged
from medprior.finetune.assembly import LossFunction
from medprior.finetune.data.dataset import LabelledImages
from medprior.finetune.data.epoch_sampler import EpochSampler
from medprior.finetune.data.views import PrepareWholeViews
from medprior.finetune.metrics import build_mean_auc_metric, build_mean_dice_metric
from medprior.finetune.sar import SupervisedSar
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.span import SupervisedSpan
from medprior.networks.device import uses_bfloat16
from medprior.networks.encoder import Encoder
from medprior.pretrain.distributed import process_rank, world_size

KEY_METRICS = {"classification": "mean_auc", "segmentation": "mean_dice"}


def unwrap_network(network: nn.Module) -> nn.Module:
    """The network without its DistributedDataParallel wrapper."""
    inner: nn.Module = getattr(network, "module", network)
    return inner


def build_loader(data: LabelledImages, settings: FinetuneSettings, order: Sampler[int] | None = None) -> DataLoader:
    """Batches of `LabelledSample`s in the given order, else in sequence (each rank its own part)."""
    sampler: Any = order if order is not None else range(process_rank(), len(data), world_size())
    return DataLoader(
        data,
        batch_size=settings.batch,
        sampler=sampler,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        generator=torch.Generator(),  # without it the loader draws from the global random state
    )


class GuardedStep:
    """One optimiser step; an `iteration_update` for MONAI's trainer.

    A step whose gradient is not finite is skipped and counted, and the running statistics of batch
    normalisation are restored: one non-finite batch would corrupt them permanently. Every process
    sees the same gradient, so all skip the same steps.

    Args:
        settings: of the run.
        sar: the spatial entropy of the backbone's free heads, or None.
        span: the divergence of its assigned heads from a prior, or None.

    Attributes:
        skipped: steps skipped so far. skipped_in_a_row: steps skipped since the last finite one.
    """

    def __init__(
        self,
        settings: FinetuneSettings,
        sar: SupervisedSar | None = None,
        span: SupervisedSpan | None = None,
    ) -> None:
        self.settings = settings
        self.sar = sar
        self.span = span
        self.skipped = 0
        self.skipped_in_a_row = 0

    def __call__(self, engine: Any, batch: Any) -> dict[str, torch.Tensor]:
        """Forward, backward, clip, step.

        Raises:
            TrainingDiverged: more than `max_skipped` steps in a row were not finite.
        """
        device = engine.state.device
        images, target = engine.prepare_batch(batch, device, engine.non_blocking)
        network = engine.network.train()
        if self.settings.freeze:
            unwrap_network(network).get_submodule("vit").eval()
        engine.optimizer.zero_grad(set_to_none=True)
        buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        half = uses_bfloat16(self.settings.precision, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            pred = engine.inferer(images, network)
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        weights = {"weight": batch["weight"].to(device, non_blocking=True)} if "weight" in batch else {}
        loss = engine.loss_function(pred.float(), target, **weights) + self._attention_loss(engine, batch, images)
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        parameters = [p for p in network.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.clip)
        self._step(engine.optimizer, buffers, bool(torch.isfinite(norm)))
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return {"image": images, "label": target, "pred": pred, "loss": loss.detach()}

    def _attention_loss(self, engine: Any, batch: Any, images: torch.Tensor) -> Any:
        """Losses on the attention of the current pass; 0 without any."""
        loss: Any = 0
        if self.sar is not None:
            steps = engine.state.epoch_length * engine.state.max_epochs
            loss = loss + self.sar.loss((engine.state.iteration - 1) / steps)
        if self.span is not None:
            views, _ = engine.prepare_batch.geometry(batch["aspect"].numpy(), batch["index"].numpy())
            maps, trust = (batch[key].to(images.device, non_blocking=True) for key in ("maps", "trust"))
            loss = loss + self.span.loss(images, views, maps, trust)
        return loss

    def _step(
        self,
        optimiser: Optimizer,
        buffers: Sequence[tuple[torch.Tensor, torch.Tensor]],
        finite: bool,
    ) -> None:
        if finite:
            self.skipped_in_a_row = 0
            optimiser.step()
            return
        for buffer, value in buffers:
            buffer.copy_(value)
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row > self.settings.max_skipped:
            raise TrainingDiverged(
                f"the loss was not finite in {self.skipped_in_a_row} steps in a row",
                where="finetune",
                fix="lower lr, or use precision=fp32; the last valid checkpoint is kept",
            )


def build_evaluator(
    network: nn.Module,
    data: LabelledImages,
    settings: FinetuneSettings,
    device: torch.device,
    loss_function: LossFunction,
) -> SupervisedEvaluator:
    """Build the evaluator of `data` on whole views without augmentation; mean AUC or Dice, and loss."""
    assert settings.size is not None
    key = KEY_METRICS[settings.task]
    loss = MeanLoss(
        loss_function,
        output_transform=lambda output: (output["pred"].float(), output["label"]),
        batch_size=len,
    )
    return SupervisedEvaluator(
        device=device,
        val_data_loader=build_loader(data, settings),
        network=network,
        prepare_batch=PrepareWholeViews(settings.size),
        key_val_metric={key: build_mean_auc_metric() if key == "mean_auc" else build_mean_dice_metric()},
        additional_metrics={"loss": loss},
        decollate=False,
        non_blocking=True,
    )


def build_trainer(
    network: nn.Module,
    data: LabelledImages,
    settings: FinetuneSettings,
    device: torch.device,
    max_epochs: int,
    optimizer: Optimizer,
    loss_function: LossFunction,
    train_handlers: Sequence[Any] = (),
    heads: Mapping[str, int] | None = None,
) -> SupervisedTrainer:
    """Build the trainer; handlers for schedule, validation, records and checkpoints are passed in.

    SAR excludes `heads`, the heads assigned to a structure; SPAN applies to them.
    """
    assert settings.size is not None
    heads = heads or {}
    sar, span = None, None
    if settings.sar_weight or settings.span_weight:
        vit = unwrap_network(network).get_submodule("vit")
        assert isinstance(vit, Encoder)
        sar = SupervisedSar(vit, settings, heads.values()) if settings.sar_weight else None
        if settings.span_weight:
            assert data.prior_targets is not None
            names = data.prior_targets.names
            span = SupervisedSpan(vit, settings, tuple(heads[name] for name in names))
    return SupervisedTrainer(
        device=device,
        max_epochs=max_epochs,
        train_data_loader=build_loader(data, settings, EpochSampler(len(data), settings.seed)),
        network=network,
        optimizer=optimizer,
        loss_function=loss_function,
        prepare_batch=PrepareWholeViews(settings.size, settings.augment, settings.seed),
        iteration_update=GuardedStep(settings, sar, span),
        train_handlers=list(train_handlers),
        decollate=False,
        non_blocking=True,
    )
