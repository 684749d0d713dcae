"""Pretraining of a backbone from a cohort and a prior (`medprior pretrain`)."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from medprior.cohort import Cohort
from medprior.cohort.squares import SquareImages
from medprior.errors import ConfigError, MedpriorError
from medprior.locks import PRIVATE_FOLDER_MODE
from medprior.networks.backbone import BACKBONE_FILE, save_weights
from medprior.networks.device import select_device
from medprior.observer import NullObserver, Observer
from medprior.pretrain.compilation import restore_eager_blocks
from medprior.pretrain.distributed import hold_training_lock, process_rank, world_size
from medprior.pretrain.figure import plot_head_attention
from medprior.pretrain.handlers import CheckpointHandler, HealthHandler, MetricsHandler
from medprior.pretrain.initial_weights import State, compute_state_digest, find_result_folder, load_initial_weights
from medprior.pretrain.learner import Learner
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.trainer import PretrainTrainer
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.stored_batches import build_step_loader
from medprior.provenance import merge_seen_cohorts, write_config

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior

STATS_CHUNK_IMAGES = 4


class Pretraining:
    """One run of pretraining: `run` executes it, `trainer` is MONAI's.

    Args:
        cohort: folder of the cohort; its `train` split is used.
        out: result folder; an unfinished run in it continues.
        prior: folder of a spatial prior, needed by SPAN and by SAR's `excess`.
        settings: a settings object, or a mapping that makes one.
        observer: receives settings, metrics and figures.
        handlers: further MONAI or ignite handlers, attached after our own.
    """

    def __init__(
        self,
        cohort: Path | str,
        out: Path | str,
        prior: Path | str | None = None,
        settings: PretrainSettings | dict[str, Any] | None = None,
        observer: Observer | None = None,
        handlers: Sequence[Any] = (),
    ) -> None:
        self.cohort_path, self.out = Path(cohort), Path(out)
        if not isinstance(settings, PretrainSettings):
            settings = PretrainSettings.from_values(settings or {})
        self.observer = observer or NullObserver()
        self.cohort = Cohort.open(self.cohort_path).split("train")
        self.prior = self._load_prior(prior, settings)
        self.prior_path = Path(prior) if self.prior and prior else None
        self.initial = find_result_folder(Path(settings.init)) if settings.init is not None else None
        settings, self.state = self._resolve_network(settings)
        settings = settings.resolve(len(self.cohort))
        check_batch_size(settings)
        self.settings = settings
        self.names = self.prior.names if self.prior else ()
        self.dataset = SquaresDataset(self.cohort, source_side_px(settings), self.prior)
        self.trainer = self._trainer(handlers)

    def _resolve_network(self, settings: PretrainSettings) -> tuple[PretrainSettings, State | None]:
        """Settings with all of the network in them, and the weights to start from."""
        if settings.init is not None:
            network, state = load_initial_weights(Path(settings.init), settings)
            digest = f"sha256:{compute_state_digest(state)}"  # in place of the path
            return settings.model_copy(update={"network": network, "init": digest}), state
        mean, std = compute_intensity_stats(self.cohort.open_squares(source_side_px(settings)))
        network = settings.network.model_copy(
            update={"mean": mean, "std": std, "image_size": settings.crops.global_size}
        )
        return settings.model_copy(update={"network": network}), None

    @staticmethod
    def _load_prior(path: Path | str | None, settings: PretrainSettings) -> SpatialPrior | None:
        if not settings.needs_prior:
            return None
        if path is None:
            raise MedpriorError(
                f"{settings.needs.prior} needs a spatial prior", where="--prior", expected="a prior folder",
                fix="run `medprior prior` first, or use --recipe dino",
            )  # fmt: skip
        from medprior.priors import SpatialPrior

        return SpatialPrior.load(Path(path))

    def _trainer(self, further: Sequence[Any]) -> PretrainTrainer:
        self.metrics = MetricsHandler(self.out, self.observer, self.names)
        self.checkpoints = CheckpointHandler(self.out / "checkpoints", self.metrics)
        handlers = [self.metrics, HealthHandler(self.metrics), self.checkpoints, *further]
        device = select_device(self.settings.device)
        loader = build_step_loader(self.dataset, self.settings, device)
        return PretrainTrainer(self._learner(), loader, self.settings, device, handlers)

    def _learner(self) -> Learner:
        heads = self.settings.initial_heads(self.names, self.settings.network)
        torch.manual_seed(self.settings.seed)
        return Learner(self.settings, heads, self.state)

    @property
    def heads(self) -> dict[str, int]:
        """Structure -> its head, for the structures that have one."""
        heads = self.trainer.learner.structure_heads().tolist()
        return {k: head for k, head in zip(self.names, heads, strict=False) if head >= 0}

    def run(self) -> None:
        """Train from the newest checkpoint to the end, then export the teacher.

        Raises:
            MedpriorError: another run is writing this folder.
        """
        logging.getLogger("ignite").setLevel(logging.WARNING)
        self.out.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        with hold_training_lock(self.out, "this backbone"):
            self.observer.params(self.settings.model_dump(mode="json"))
            done = self.checkpoints.restore(self.trainer) if self.settings.resume else 0
            with save_on_signal(self.checkpoints), self.checkpoints:
                if done < (self.settings.steps or 0):
                    self.trainer.run()
            if process_rank() == 0:
                self.export()

    def export(self) -> None:
        """Write the teacher, its figure, and `config.json` last."""
        network = self.trainer.learner.teacher.backbone.eval().cpu()
        restore_eager_blocks(network)
        save_weights(self.out / BACKBONE_FILE, network)
        figure = self.out / "attention.png"
        plot_head_attention(figure, network, self.cohort, self.settings.crops.global_size, self.heads)
        self.observer.artifact(figure)
        inputs = {"cohort": self.cohort_path}
        if self.prior_path is not None:
            inputs["prior"] = self.prior_path
        last = self.metrics.rows[-1] if self.metrics.rows else {}
        facts = {
            "network": self.settings.network.model_dump(),
            "heads": self.heads,
            "view_size": self.settings.crops.global_size,
            "cohort_digest": self.cohort.digest,
            "seen_cohorts": merge_seen_cohorts(self.cohort_path, self.initial),
            "training": last | {"uniform_entropy": self.settings.uniform_entropy},
        }
        write_config(
            self.out, "pretrain", self.settings.model_dump(mode="json"), inputs=inputs,
            outputs=(BACKBONE_FILE,), seed=self.settings.seed, facts=facts,
        )  # fmt: skip


def pretrain_backbone(
    cohort: Path | str,
    out: Path | str,
    prior: Path | str | None = None,
    settings: PretrainSettings | None = None,
    observer: Observer | None = None,
) -> None:
    """Pretrain a backbone; see `Pretraining`."""
    if Path(out).is_dir():
        with hold_training_lock(Path(out), "this backbone"):
            pass  # a second run is refused before it reads data and weights
    Pretraining(cohort, out, prior, settings, observer).run()


def check_batch_size(settings: PretrainSettings) -> None:
    """ConfigError unless processes and parts of a step share the batch evenly."""
    parts = world_size() * settings.accumulate
    if settings.batch % parts:
        raise ConfigError(
            "batch is no multiple of the processes times accumulate", where="batch",
            expected=f"a multiple of {parts}", found=str(settings.batch),
        )  # fmt: skip


def source_side_px(settings: PretrainSettings) -> int:
    """Side of the stored squares: 1.5 times the global view, so that crops keep their detail."""
    return settings.crops.global_size * 3 // 2


def compute_intensity_stats(images: NDArray[np.float32] | SquareImages) -> tuple[float, float]:
    """Mean and standard deviation of all pixels [n, S, S], rounded to 4 decimals; read in chunks, by threads."""

    def sum_pixels(start: int) -> tuple[float, float]:
        """Sum and sum of squares of one chunk."""
        values = images[start : start + STATS_CHUNK_IMAGES].astype(np.float64)
        total = float(values.sum())
        return total, float(np.square(values, out=values).sum())

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        sums = np.array(list(pool.map(sum_pixels, range(0, len(images), STATS_CHUNK_IMAGES))))
    mean, mean_square = sums.sum(axis=0) / math.prod(images.shape)
    std = math.sqrt(max(mean_square - mean**2, 0.0))
    return round(float(mean), 4), max(round(std, 4), 1e-3)


@contextmanager
def save_on_signal(checkpoints: CheckpointHandler) -> Iterator[None]:
    """SIGTERM and SIGINT finish the step and save; only where signals can be handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, checkpoints.stop_after_step) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
