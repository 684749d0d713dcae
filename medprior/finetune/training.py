"""Fine-tuning: builds data, network and engines, trains, and writes the model folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monai.engines.evaluator import SupervisedEvaluator
from monai.engines.trainer import SupervisedTrainer
from monai.handlers.validation_handler import ValidationHandler
from torch.nn.parallel import DistributedDataParallel

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.finetune.assembly import build_finetune_network, build_loss, resolve_vit_settings
from medprior.finetune.data.dataset import LabelledImages
from medprior.finetune.data.splits import build_train_val_datasets
from medprior.finetune.engine import build_evaluator, build_trainer
from medprior.finetune.handlers import (
    BestWeightsHandler,
    FinetuneCheckpointHandler,
    MetricsRecorder,
    ScheduleHandler,
    TrainingProgress,
    is_training_finished,
)
from medprior.finetune.interrupts import StopRequest, catch_stop_signals
from medprior.finetune.model_folder import write_model_folder
from medprior.finetune.optimiser import build_optimiser
from medprior.finetune.run import FinetuneRun
from medprior.finetune.selection import check_validation_labels
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.finetune.span import PriorTargets, match_heads_to_prior
from medprior.finetune.starting_weights import load_starting_weights, resolve_weights_path
from medprior.locks import PRIVATE_FOLDER_MODE
from medprior.networks.device import select_device
from medprior.observer import NullObserver, Observer
from medprior.pretrain.distributed import hold_training_lock, process_rank, world_size
from medprior.provenance import compute_input_digest, result_digest

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior

MACHINE_SETTINGS = {"device", "workers", "resume", "checkpoint_every", "keep_checkpoints"}


def compute_run_fingerprint(
    settings: FinetuneSettings,
    train: LabelledImages,
    val: LabelledImages,
    backbone: Path | None,
    prior: Path | None = None,
    teachers: Sequence[Path] = (),
) -> str:
    """Hex sha256 of everything that determines the weights; resuming requires the same value."""
    parts = {
        "settings": settings.model_dump(mode="json", exclude=MACHINE_SETTINGS),
        "images": [train.cohort.digest, val.cohort.digest],
        "names": train.names,
        "backbone": compute_input_digest(backbone) if backbone else None,
        "prior": result_digest(prior) if prior else None,
        "world": world_size(),
    }
    if teachers:
        parts["teachers"] = [result_digest(teacher) for teacher in teachers]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def prepare_run(
    cohort: Cohort,
    out: Path,
    settings: FinetuneSettings,
    backbone: Path | None = None,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
    prior: Path | None = None,
    teachers: Sequence[Path] = (),
) -> FinetuneRun:
    """Read the data, build network and engines, and resume from a checkpoint if there is one.

    Raises:
        MedpriorError: data, backbone and settings do not fit each other.
    """
    observer = observer or NullObserver()
    weights, settings = load_starting_weights(backbone, settings)
    loaded = weights.backbone
    view = loaded.size if loaded else settings.network.image_size
    settings = settings.resolved(loaded is not None, view)
    device = select_device(settings.device)
    spatial = load_required_prior(prior) if settings.needs_prior else None
    train, val = build_train_val_datasets(cohort, settings, spatial, teachers)
    check_validation_labels(val)
    heads = dict(loaded.heads) if loaded else {}
    if settings.span_weight and spatial is not None:
        matched = match_heads_to_prior(spatial, resolve_vit_settings(settings, loaded), heads)
        train.prior_targets = PriorTargets(spatial, tuple(matched))
        heads = heads or matched
    network = build_finetune_network(settings, len(train.names), loaded, heads, weights.cnn).to(device)
    wrapped = DistributedDataParallel(network, gradient_as_bucket_view=True) if world_size() > 1 else network
    loss = build_loss(settings, train, device)
    evaluator = build_evaluator(wrapped, val, settings, device, loss)
    progress = TrainingProgress()
    checkpoints = FinetuneCheckpointHandler(
        out / "checkpoints",
        settings,
        compute_run_fingerprint(settings, train, val, backbone, prior if spatial else None, teachers),
        progress,
        StopRequest() if stop is None else stop,
    )
    handlers = [
        ScheduleHandler(settings),
        ValidationHandler(interval=1, validator=evaluator),
        BestWeightsHandler(evaluator, progress, keep_last=settings.has_few_masks),
        MetricsRecorder(out, observer, evaluator, progress),
        checkpoints,
    ]
    optimiser = build_optimiser(network, settings)
    trainer = build_trainer(
        wrapped, train, settings, device, settings.epochs, optimiser, loss, handlers,
        heads,
    )  # fmt: skip
    if settings.resume:
        checkpoints.restore(trainer)
    return FinetuneRun(
        settings, device, network, train, val, evaluator, trainer, progress, checkpoints, heads,
        split_for_ood_detector(cohort, train, val, settings), weights.facts,
    )  # fmt: skip


def load_required_prior(path: Path | None) -> SpatialPrior:
    """Load the prior that the settings need.

    Raises:
        InputMissing: `path` is None, or no finished prior.
    """
    if path is None:
        raise InputMissing(
            "span_weight and targets=prior need a spatial prior", where="--prior",
            expected="a prior folder", fix="run `medprior prior` first",
        )  # fmt: skip
    from medprior.priors import SpatialPrior

    return SpatialPrior.load(path)


def split_for_ood_detector(
    cohort: Cohort, train: LabelledImages, val: LabelledImages, settings: FinetuneSettings
) -> tuple[Cohort, Cohort]:
    """Images to fit the out-of-distribution detector on, and images to set its limit on.

    The detector needs no labels: with few masks it also uses the images without a mask. A student of teachers has
    seen images of all sources; so has its limit.
    """
    if settings.targets == "teacher":
        return train.cohort, cohort.split("val")
    if train is val:
        splits = cohort.manifest.split.tolist()
        ids = list(zip(cohort.image_ids, splits, strict=True))
        fitting, limit = ([i for i, split in ids if split == name] for name in ("train", "val"))
        return cohort.select(fitting), cohort.select(limit)
    return train.cohort, val.cohort


class Finetuning:
    """One fine-tuning run on MONAI's engines; `run` trains and writes the model.

    Args:
        cohort: with train and val splits.
        out: the model folder; an unfinished run in it is resumed.
        task: overrides `settings.task`.
        backbone: folder of `medprior pretrain`, or a safetensors file of `load_starting_weights`; None trains from
            scratch.
        settings: a settings object, or a mapping of settings.
        observer: receives the metrics of every epoch.
        prior: folder of `medprior prior`, for `span_weight` and `targets=prior`; otherwise not read.
        teachers: model folders of segmenters, for `targets=teacher`; otherwise not read.
        train_handlers, val_handlers: further MONAI or ignite handlers of trainer and evaluator.

    Attributes:
        parts: data, network and engines.

    Raises:
        MedpriorError: inputs do not fit each other.
    """

    def __init__(
        self,
        cohort: Cohort,
        out: Path | str,
        task: Task | None = None,
        backbone: Path | str | None = None,
        settings: FinetuneSettings | dict[str, Any] | None = None,
        observer: Observer | None = None,
        train_handlers: Sequence[Any] = (),
        val_handlers: Sequence[Any] = (),
        prior: Path | str | None = None,
        teachers: Sequence[Path | str] = (),
    ) -> None:
        self.out, self.observer = Path(out), observer or NullObserver()
        if not isinstance(settings, FinetuneSettings):
            override = {"task": task} if task is not None else {}
            settings = FinetuneSettings.from_values((settings or {}) | override)
        if task is not None:
            settings = settings.for_task(task)
        if self.out.is_dir():
            with hold_training_lock(self.out, "this model"):
                if not settings.resume and process_rank() == 0:
                    shutil.rmtree(self.out / "checkpoints", ignore_errors=True)
        folder = resolve_weights_path(Path(backbone)) if backbone else None
        prior_folder = Path(prior) if prior and settings.needs_prior else None
        self.inputs = {"cohort": cohort.path} | ({"backbone": folder} if folder else {})
        self.inputs |= {"prior": prior_folder} if prior_folder else {}
        teacher_folders = [Path(teacher) for teacher in teachers] if settings.targets == "teacher" else []
        self.inputs |= {f"teacher{number or ''}": path for number, path in enumerate(teacher_folders)}
        self.stop = StopRequest()
        with torch.random.fork_rng():
            self.parts = prepare_run(
                cohort, self.out, settings, folder, self.observer, self.stop, prior_folder, teacher_folders
            )
        for handler in train_handlers:
            handler.attach(self.trainer)
        for handler in val_handlers:
            handler.attach(self.evaluator)

    @property
    def trainer(self) -> SupervisedTrainer:
        """MONAI's trainer."""
        return self.parts.trainer

    @property
    def evaluator(self) -> SupervisedEvaluator:
        """MONAI's evaluator of the validation split."""
        return self.parts.evaluator

    def run(self) -> None:
        """Train to the end, then write the model.

        Raises:
            TrainingDiverged: the loss was not finite.
            MedpriorError: another run is writing this folder.
        """
        self.out.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        with hold_training_lock(self.out, "this model"):
            with catch_stop_signals(self.stop), torch.random.fork_rng():
                if process_rank() == 0:
                    (self.out / "config.json").unlink(missing_ok=True)
                self.observer.params(self.parts.settings.model_dump(mode="json"))
                if not is_training_finished(self.trainer):
                    self.trainer.run()
            if process_rank() == 0:
                write_model_folder(self.parts, self.out, self.inputs, self.observer)


def finetune_model(
    cohort: Cohort,
    out: Path,
    task: Task | None = None,
    backbone: Path | None = None,
    settings: FinetuneSettings | None = None,
    observer: Observer | None = None,
    prior: Path | None = None,
    teachers: Sequence[Path] = (),
) -> Path:
    """Train a classifier or segmenter and write its model folder; see `Finetuning`.

    A stopped run resumes when it is repeated in the same folder, bit for bit on a CPU; every random
    number is a function of seed, epoch, image and step.

    Returns:
        The model folder.
    """
    Finetuning(cohort, out, task, backbone, settings, observer, prior=prior, teachers=teachers).run()
    return out
