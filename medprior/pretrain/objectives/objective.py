"""Interface of a pretraining objective, its inputs and the networks' outputs."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from medprior.networks.encoder import Tokens
from medprior.pretrain.objectives.objective_settings import ObjectiveSettings
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewBatch

if TYPE_CHECKING:
    from medprior.pretrain.network import PretrainNetwork

Logs = dict[str, Tensor]
"""Detached scalars, the same on every process."""


@dataclass(frozen=True)
class PriorMaps:
    """Prior maps of a batch's images.

    Shape:
        maps: [B, K, S, S] in [0, 1] on the unit squares. weight: [B] in [0, 1], trust in each.
    """

    maps: Tensor
    weight: Tensor


@dataclass(frozen=True)
class MultiCropBatch:
    """Views, prior maps and masks of B images in one step, the input of networks and objectives.

    Attributes:
        globals_: 2 views an image. locals_: further smaller ones, or None.
        prior: maps of the images, or None.
        masked: bool [2B, N], masked patches of the student's global views, or None.
        kept: int64 [B, n], patches of global view 2 that the student encodes, None for all.
        step: index of the step, from 0; with the seed it fixes every random number.
        part: where the B images lie in the global batch. whole: size of the global batch.
        detail: whether to compute logs that are too costly for every step.
        masked_positions: int64 [M], where the flattened `masked` is true; None where nobody has counted yet.
    """

    globals_: ViewBatch
    locals_: ViewBatch | None = None
    prior: PriorMaps | None = None
    masked: Tensor | None = None
    step: int = 0
    part: slice = field(default_factory=lambda: slice(None))
    whole: int = 0
    detail: bool = False
    kept: Tensor | None = None
    masked_positions: Tensor | None = None

    @property
    def size(self) -> int:
        """B."""
        return len(self.globals_.pixels) // 2

    @property
    def stacks(self) -> list[ViewBatch]:
        """The global views, then the local ones."""
        return [self.globals_] + ([self.locals_] if self.locals_ else [])


@dataclass(frozen=True)
class NetworkOutputs:
    """Outputs of student and teacher for a multi-crop batch.

    Attributes:
        student, teacher: the networks, for the parts that objectives add.
        views: the student's tokens of each of the multi-crop batch's stacks.
        scores: the student's head on CLS of all views [V * B, K], None without a head.
        teacher_tokens: the teacher's tokens of the global views; teacher_scores: [2B, K]; None where no objective needs
            the teacher.
        structure_heads: int64 [K] on the CPU, head of the last block that follows each structure, -1 for none yet.
    """

    student: PretrainNetwork
    teacher: PretrainNetwork
    views: list[Tokens]
    scores: Tensor | None
    teacher_tokens: Tokens | None
    teacher_scores: Tensor | None
    structure_heads: Tensor


class Objective(nn.Module, ABC):
    """One term of the training loss.

    At weight 0 an objective samples no random number, holds no parameter and takes no part in the step. An objective's
    loss is such that its mean over processes and over the parts of an accumulated batch is the loss of the whole batch.

    Attributes:
        name: key in the registry, in settings, logs and checkpoints.
        section_type: its section of the settings, where `ObjectiveSections` does not declare one.
        reads_tokens: its loss depends on the last block's output, not on its attention alone.
        needs_teacher: reads `NetworkOutputs.teacher_tokens` or `teacher_scores`.
        scheduled: the weight changes during the run, and is logged.
        cls_row_stacks: number of stacks of views whose `Tokens.cls_logits` it reads.
        gradient_period: steps between calls of `receive_gradient_norms`, 0 for none.
    """

    name: ClassVar[str]
    section_type: ClassVar[type[ObjectiveSettings] | None] = None
    reads_tokens: ClassVar[bool] = True
    needs_teacher: ClassVar[bool] = False
    scheduled: ClassVar[bool] = False
    cls_row_stacks: int = 0
    gradient_period: int = 0

    @classmethod
    def create(cls, settings: PretrainSettings, heads: Sequence[int]) -> Self | None:
        """The objective of a run, None where its weight is 0; arguments as of `build_objectives`.

        By default `cls(settings)`.
        """
        return cls(settings) if settings.sections[cls.name].weight else None

    @abstractmethod
    def weight(self, progress: float) -> float:
        """Factor of the loss at `progress` in [0, 1] of the run."""

    def parts(self) -> dict[str, nn.Module]:
        """Networks of its own that student and teacher both hold."""
        return {}

    def student_parts(self) -> dict[str, nn.Module]:
        """Networks of its own that the student alone holds."""
        return {}

    def sample_masks(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor | None:
        """Patches of the global views that the student does not see: bool [2B, N], or None.

        A function of seed and step alone; `ObjectiveNeeds.masks` announces it.
        """
        return None

    def sample_kept_patches(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor | None:
        """Patches of global view 2 that the student encodes: int64 [B, n], or None for all.

        A function of seed and step alone.
        """
        return None

    def structure_heads(self) -> Tensor | None:
        """Head of each structure, int64 [K] on the CPU, -1 for none yet; None where it assigns no heads."""
        return None

    def targets(self, multi_crop: MultiCropBatch) -> tuple[Any, Tensor | None]:
        """Targets from the multi-crop batch alone, and the number of terms the loss is a mean over.

        The number is None where every part of the batch has equally many terms.
        """
        return None, None

    @abstractmethod
    def loss(
        self, multi_crop: MultiCropBatch, targets: Any, count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """The loss of a multi-crop batch, and its logs.

        Args:
            multi_crop: the views.
            targets: of `self.targets`.
            count: terms of a part of the batch, the mean over all parts of all processes.
            outputs: of the networks.
        """

    def receive_gradient_norms(self, norms: Mapping[str, Tensor]) -> None:
        """Take in the norm of each objective's weighted gradient at the last block."""

    def log_name(self, key: str, structures: Sequence[str]) -> str:
        """Column of `metrics.csv` for the logged `key`, where it carries a structure's number."""
        return key

    def check_health(self, rows: Sequence[Mapping[str, float]], step: int) -> None:
        """Raise TrainingCollapsed if the latest rows of metrics, up to `step`, say so."""

    def commit_step(self) -> None:
        """After an update: apply the step's statistics (a centre, an assignment)."""

    def discard_step(self) -> None:
        """After a skipped step: drop its statistics."""


@contextmanager
def isolate_rng(seed: int, name: str) -> Iterator[None]:
    """Torch's random numbers from `seed` and `name` alone; the caller's stay untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
        yield
