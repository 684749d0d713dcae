"""Pretraining as a MONAI trainer, so that MONAI handlers and bundles can drive it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.trainer import Trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from medprior.errors import TrainingDiverged, TrainingFailed
from medprior.networks.device import uses_bfloat16
from medprior.pretrain.compilation import compile_blocks, should_compile
from medprior.pretrain.deferred_logs import DeferredLogs
from medprior.pretrain.distributed import all_reduce_sum, process_rank, world_size
from medprior.pretrain.learner import BatchTargets, Learner
from medprior.pretrain.objectives.gradient_guard import compute_gradient_norms
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch
from medprior.pretrain.optimiser import build_pretrain_optimiser, clip_gradients, freeze_prototypes, set_rates
from medprior.pretrain.schedules import cosine_schedule
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.dataset import StepSampler
from medprior.pretrain.views.pretrain_views import MultiCropBatchMaker
from medprior.pretrain.views.stored_batches import StoredBatch, StoredBatches

log = logging.getLogger(__name__)
MAX_SKIPPED_STEPS = 10
RANK_SEED_STRIDE = 100_003


class PretrainTrainer(Trainer):
    """One iteration is one step: views, losses, update of student, then of teacher.

    Args:
        learner: student, teacher and objectives.
        loader: of `build_step_loader`.
        settings: resolved settings.
        device: where to train.
        handlers: MONAI or ignite handlers.
        deferred: read the logs of a step in the next one, so that the host never waits for the step it has queued;
            whether loss and gradient are finite is then decided on the device. None: on CUDA.

    Attributes:
        skipped: successive steps skipped because loss or gradient was not finite. skipped_steps: in total.
    """

    def __init__(
        self,
        learner: Learner,
        loader: DataLoader[StoredBatch],
        settings: PretrainSettings,
        device: torch.device,
        handlers: Sequence[Any] = (),
        deferred: bool | None = None,
    ) -> None:
        assert isinstance(loader.dataset, StoredBatches)
        assert isinstance(loader.batch_sampler, StepSampler)
        self.dataset, self.sampler = loader.dataset.dataset, loader.batch_sampler
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
        self.multi_crops = MultiCropBatchMaker(settings, loader.dataset, learner)
        self.deferred = device.type == "cuda" if deferred is None else deferred
        self.optimiser = build_pretrain_optimiser(learner.student, settings, fused=self.deferred)
        if should_compile(settings.compile, device):
            for network in (learner.student, learner.teacher):
                compile_blocks(network.backbone)
        self.student: nn.Module = learner.student
        if world_size() > 1:
            # The student's buffers are constants, the same on every process.
            self.student = DistributedDataParallel(
                learner.student, gradient_as_bucket_view=True, broadcast_buffers=False
            )
        self.skipped = self.skipped_steps = 0
        self._previous_logs: DeferredLogs | None = None
        self._register_handlers(list(handlers))

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """Load a state dict of the optimiser, perhaps of another device; the kernel stays this trainer's."""
        groups = [group | {"fused": self.optimiser.param_groups[0]["fused"]} for group in state["param_groups"]]
        self.optimiser.load_state_dict(state | {"param_groups": groups})

    def progress(self) -> float:
        """Share of the run that is done, by the current step."""
        assert self.settings.steps is not None
        return float((self.state.iteration - 1) / self.settings.steps)

    def step(self, engine: Engine, batch: Any) -> Mapping[str, float]:
        """One training step; returns what is logged. A non-finite one changes nothing."""
        self.learner.train()
        self._seed_step()
        weights = self.learner.weights(self.progress())
        self.optimiser.zero_grad(set_to_none=True)
        means, logs = self._fit_in_memory(batch, weights)
        norm = clip_gradients(self.learner.student, self.settings.optimiser)
        names, values = self._collect_values(means, logs, norm)
        if self.deferred:
            return self._update_and_defer(names, values, weights)
        numbers = dict(zip(names, values.tolist(), strict=True))
        if is_finite_step(numbers, weights):
            self._update()
        else:
            self._skip()
        return self._complete_logs(numbers, weights)

    def _update_and_defer(self, names: list[str], values: Tensor, weights: dict[str, float]) -> DeferredLogs:
        """Queue the update, then read the logs of the step before."""
        self._update(torch.isfinite(values[: len(weights) + 1].sum()))
        rate = self.optimiser.param_groups[0]["lr"]

        def complete(numbers: dict[str, float]) -> dict[str, float]:
            """Count the step as finite or skipped, and add what the host knows."""
            if is_finite_step(numbers, weights):
                self.skipped = 0
            else:
                self._count_skipped()
            return self._complete_logs(numbers, weights) | {"lr": rate}

        self.read_deferred_logs()
        self._previous_logs = DeferredLogs(names, values, complete)
        return self._previous_logs

    def read_deferred_logs(self) -> None:
        """Wait for the step that is queued, and count it; nothing where logs are not deferred.

        Raises:
            TrainingDiverged: too many steps in a row were not finite.
        """
        if self._previous_logs is not None:
            self._previous_logs.read()

    def _complete_logs(self, numbers: dict[str, float], weights: dict[str, float]) -> dict[str, float]:
        """Logs of a step with its loss, weights and rate."""
        values = {name: value for name, value in numbers.items() if name != "gradient"}
        values["loss"] = float(sum(weight * values[f"loss_{name}"] for name, weight in weights.items()))
        scheduled = (name for name, objective in self.learner.named_objectives() if objective.scheduled)
        values |= {f"{name}_weight": weights[name] for name in scheduled}
        values["lr"] = self.optimiser.param_groups[0]["lr"]
        values["skipped_steps"] = float(self.skipped_steps)
        return values

    def _seed_step(self) -> None:
        """Seed what is drawn inside networks (drop-path): by run, step and process, so that resuming is exact."""
        torch.manual_seed((self.settings.seed + RANK_SEED_STRIDE * process_rank()) * 1_000_003 + self.state.iteration)

    def _fit_in_memory(self, batch: Any, weights: dict[str, float]) -> tuple[Logs, Logs]:
        """`_accumulate_gradients`, in twice as many parts while the device runs out of memory.

        Batch statistics become those of a part (see `accumulate`). Several processes cannot agree on the parts within a
        step, so they stop with advice.
        """
        while True:
            try:
                return self._accumulate_gradients(batch, weights)
            except torch.OutOfMemoryError:
                parts = 2 * self.multi_crops.parts
            # Outside of the except clause, whose traceback holds the tensors of the failed attempt.
            if world_size() > 1 or len(batch["index"]) % parts or len(batch["index"]) // parts < 2:
                raise TrainingFailed(
                    "the device's memory does not hold a step",
                    where=f"step {self.state.iteration}",
                    fix=f"set accumulate={parts}, or lower batch or crops; the last checkpoint is "
                    "whole, and the same command goes on from it",
                )
            self.learner.discard_step()
            self.optimiser.zero_grad(set_to_none=True)
            if self.state.device.type == "cuda":
                torch.cuda.empty_cache()
            self._seed_step()
            self.multi_crops.parts = parts
            log.warning("out of memory: going on with accumulate=%d", parts)

    def _accumulate_gradients(self, batch: Any, weights: dict[str, float]) -> tuple[Logs, Logs]:
        """Gradients of the step's batch, part by part; mean losses of this process, and logs."""
        multi_crops = self.multi_crops(batch, self.state.iteration - 1, self.state.device)
        prepared = self.learner.build_targets(multi_crops)
        sums: Logs = {}
        part_logs: list[Logs] = []
        for index, multi_crop in enumerate(multi_crops):
            last = index == len(multi_crops) - 1
            with ExitStack() as stack:
                if not last and isinstance(self.student, DistributedDataParallel):
                    stack.enter_context(self.student.no_sync())
                losses, logs = self._losses(multi_crop, prepared[index])
                if last:
                    logs |= self._measure_gradients(losses, weights)
                loss = torch.stack([weights[k] * v for k, v in losses.items()]).sum()
                (loss / len(multi_crops)).backward()  # type: ignore[no-untyped-call]
            part_logs.append(logs)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach()
        means = {name: value / len(multi_crops) for name, value in sums.items()}
        return means, average_logs(part_logs)

    def _losses(self, multi_crop: MultiCropBatch, prepared: BatchTargets) -> tuple[dict[str, Tensor], Logs]:
        half = uses_bfloat16(self.settings.precision, self.state.device)
        with torch.autocast(self.state.device.type, torch.bfloat16, enabled=half):
            return self.learner.compute_losses(self.student, multi_crop, prepared)

    def _measure_gradients(self, losses: dict[str, Tensor], weights: dict[str, float]) -> Logs:
        """Every so often, each objective's gradient at the last block, for logs and objectives."""
        step, objectives = self.state.iteration, [objective for _, objective in self.learner.named_objectives()]
        readers = [
            objective for objective in objectives if objective.gradient_period and step % objective.gradient_period == 0
        ]
        record = step % self.settings.gradient_every == 0
        if not readers and not record:
            return {}
        block = list(self.learner.student.backbone.blocks[-1].parameters())
        norms = compute_gradient_norms(losses, weights, block)
        for objective in readers:
            objective.receive_gradient_norms(norms)
        return {f"gradient_{name}": norm for name, norm in norms.items()} if record else {}

    def _collect_values(self, means: Logs, logs: Logs, norm: Tensor) -> tuple[list[str], Tensor]:
        """Names and values of all logs, the losses and the gradient's norm first; losses are means over processes."""
        names = [f"loss_{name}" for name in means]
        losses = all_reduce_sum(torch.stack(list(means.values())).float()) / world_size()
        values = torch.cat([losses, torch.stack([v.float() for v in (norm, *logs.values())])])
        return [*names, "gradient", *logs], values

    def _update(self, finite: Tensor | None = None) -> None:
        """Update student, teacher and objectives; where `finite`, bool [] on the device, is false, nothing changes."""
        progress = self.progress()
        set_rates(self.optimiser, self.settings, progress)
        assert self.state.epoch_length is not None
        if self.state.iteration <= self.settings.dino.freeze_epochs * self.state.epoch_length:
            freeze_prototypes(self.learner.student)
        momentum = cosine_schedule(self.settings.teacher_momentum, 1.0, progress)
        if finite is None:
            self.optimiser.step()
            self.learner.update_teacher(momentum)
            self.learner.commit_step()
            self.skipped = 0
            return
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]  # read by the fused kernel
        self.optimiser.step()
        self.learner.update_teacher(momentum, finite)
        buffers = [(buffer, buffer._version, buffer.clone()) for buffer in self.learner.objectives.buffers()]
        self.learner.commit_step()
        for buffer, version, before in buffers:
            if buffer._version != version:  # the objective has written to it
                buffer.copy_(torch.where(finite, buffer, before))

    def _skip(self) -> None:
        self.learner.discard_step()
        self._count_skipped()

    def _count_skipped(self) -> None:
        self.skipped += 1
        self.skipped_steps += 1
        if self.skipped > MAX_SKIPPED_STEPS:
            raise TrainingDiverged(
                f"the loss was not finite for {self.skipped} steps in a row",
                fix="lower optimiser.lr, or use precision=fp32; the last checkpoint is finite",
            )


def average_logs(part_logs: Sequence[Logs]) -> Logs:
    """Means over the parts of a batch that logged a key."""
    if len(part_logs) == 1:
        return part_logs[0]
    keys = dict.fromkeys(key for logs in part_logs for key in logs)
    return {k: torch.stack([logs[k].float() for logs in part_logs if k in logs]).mean() for k in keys}


def is_finite_step(numbers: Mapping[str, float], names: Iterable[str]) -> bool:
    """Whether the losses called `names` and the gradient's norm are finite."""
    return math.isfinite(sum(numbers[f"loss_{name}"] for name in names) + numbers["gradient"])
