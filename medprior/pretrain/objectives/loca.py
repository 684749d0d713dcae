"""LOCA: locates each patch of a view in another view of which few patches are visible.

Source: arXiv 2212.02400 and the authors' code (scenic, `projects/loca`) for losses, visible patches, dropped query
patches and block.

What differs on purpose: global view 1 is the reference and DINO's other views are the queries, so that no further pass
of the backbone is needed; the backbone has a CLS token and perhaps registers, which LOCA ignores (theirs has none); the
head of the cluster loss shares the shape of DINO's unless `loca.prototypes`, `hidden` and `bottleneck` say otherwise
(theirs has 4096 prototypes), never its weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medprior.errors import ConfigError
from medprior.networks.device import send_to_device
from medprior.pretrain.distributed import all_reduce_sum, count_all_rows, world_size
from medprior.pretrain.objectives.dino import apply_sinkhorn
from medprior.pretrain.objectives.locator import Locator
from medprior.pretrain.objectives.objective import Logs, MultiCropBatch, NetworkOutputs, Objective
from medprior.pretrain.objectives.positions import OUTSIDE_CELL, locate_patches, sample_visible_patches
from medprior.pretrain.objectives.projection_head import build_projection_head
from medprior.pretrain.schedules import warmup_hold_schedule
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.batches import QUERY_STREAM, VISIBLE_STREAM


@dataclass(frozen=True)
class LocaTargets:
    """Positions of the queries, and the patches visible to them.

    Shape:
        cell: int64 [B, Q], cell of the reference or -1. visible: int64 [B, C], patches of the reference.
    """

    cell: Tensor
    visible: Tensor


def location_loss(scores: Tensor, cell: Tensor) -> Tensor:
    """Summed cross-entropy of positions [B, Q, P] against cells [B, Q]; those at -1 count 0."""
    flat = scores.float().flatten(0, 1)
    return F.cross_entropy(flat, cell.flatten(), ignore_index=-1, reduction="sum")


def cluster_loss(scores: Tensor, targets: Tensor, cell: Tensor, tau: float) -> Tensor:
    """Summed cross-entropy of query prototypes [B, Q, K] against the reference's at their cells.

    Args:
        scores: of the student on query patches.
        targets: [B, P, K], probabilities of the reference's patches, without gradient.
        cell: [B, Q], -1 counts 0 (and is never used as an index).
        tau: softmax temperature of the student.
    """
    log_p = (scores.float() / tau).log_softmax(-1)
    valid = cell >= 0
    at = torch.where(valid, cell, 0)[..., None].expand_as(log_p)
    losses = -(targets.gather(1, at) * log_p).sum(-1)
    return torch.where(valid, losses, 0.0).sum()


def mean_entropy_penalty(scores: Tensor, tau: float) -> Tensor:
    """Sum of p ln p of the mean prototype distribution p over all query patches and processes.

    Least (- ln K) where the prototypes are used evenly.
    """
    p = (scores.float() / tau).softmax(-1).flatten(0, -2)
    mean = all_reduce_sum(p.sum(0)) / count_all_rows(p)
    return torch.xlogy(mean, mean.clamp_min(1e-12)).sum()


class LocaObjective(Objective):
    """LOCA with DINO's views; of masked views the visible patches alone are queries."""

    name = "loca"
    needs_teacher = True
    scheduled = True

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        self.settings = settings
        self.loca = settings.loca
        check_query_patches(settings)

    def weight(self, progress: float) -> float:
        """Linear warm-up, then constant."""
        return warmup_hold_schedule(self.loca.weight, 1.0, self.loca.warmup, progress)

    def parts(self) -> dict[str, nn.Module]:
        """With the cluster loss: prototypes, of student and teacher."""
        return {"loca_prototypes": build_projection_head(self.settings, self.loca)} if self.loca.cluster else {}

    def student_parts(self) -> dict[str, nn.Module]:
        """The cross-attention block."""
        shape = self.settings.network
        cells = (self.settings.crops.global_size // shape.patch) ** 2
        return {"loca": Locator(shape.width, shape.heads, cells)}

    def sample_kept_patches(self, step: int, part: slice, whole: int, grid: tuple[int, int]) -> Tensor | None:
        """With `query_patches`: those of a part of the step's batch, int64 [B, n], from seed and step alone."""
        if self.loca.query_patches is None:
            return None
        rng = np.random.default_rng([self.settings.seed, QUERY_STREAM, step])
        order = rng.permuted(np.tile(np.arange(grid[0] * grid[1]), (whole, 1)), axis=1)
        return torch.from_numpy(order[part, : self.loca.query_patches])

    def targets(self, multi_crop: MultiCropBatch) -> tuple[LocaTargets, Tensor]:
        """Cells of all queries, visible patches, and how many queries lie in the reference."""
        size, device = multi_crop.size, multi_crop.globals_.pixels.device
        geometry = multi_crop.globals_.geometry
        reference = geometry.take(slice(0, size))
        cells = [locate_patches(reference, geometry.take(slice(size, 2 * size)))]
        if multi_crop.locals_ is not None:
            for first in range(0, len(multi_crop.locals_.geometry), size):
                local = multi_crop.locals_.geometry.take(slice(first, first + size))
                cells.append(locate_patches(reference, local))
        rng = np.random.default_rng([self.settings.seed, VISIBLE_STREAM, multi_crop.step])
        patches = geometry.grid[0] * geometry.grid[1]
        visible = sample_visible_patches(rng, multi_crop.whole or size, patches, self.loca.visible, self.loca.pattern)[
            multi_crop.part
        ]
        sent = send_to_device(np.concatenate([*cells, visible], axis=1), device)
        cell = sent[:, : -visible.shape[1]]
        of_global, of_locals = cell[:, :patches], cell[:, patches:]
        if multi_crop.masked is not None:
            of_global = torch.where(multi_crop.masked[size:], OUTSIDE_CELL, of_global)
        if multi_crop.kept is not None:
            of_global = of_global.gather(1, multi_crop.kept)
        cell = torch.cat([of_global, of_locals], dim=1)
        return LocaTargets(cell, sent[:, -visible.shape[1] :]), (cell >= 0).float().sum()

    def loss(
        self, multi_crop: MultiCropBatch, targets: LocaTargets, count: Tensor | None, outputs: NetworkOutputs
    ) -> tuple[Tensor, Logs]:
        """Location loss, with clusters also theirs; logs the accuracy over all processes."""
        assert count is not None
        queries = self._queries(multi_crop, outputs)
        reference = self._reference(multi_crop, outputs)
        at = targets.visible[..., None].expand(-1, -1, reference.shape[-1])
        scores = outputs.student.parts["loca"](queries, reference.gather(1, at))
        loss = location_loss(scores, targets.cell) / count
        with torch.no_grad():
            valid = targets.cell >= 0
            right = all_reduce_sum(((scores.argmax(-1) == targets.cell) & valid).float().sum())
            logs = {"loca_accuracy": right / all_reduce_sum(valid.float().sum()).clamp_min(1)}
            logs["loca_position_loss"] = all_reduce_sum(loss.detach()) / world_size()
        if self.loca.cluster:
            loss = loss + self._cluster(queries, targets.cell, count, outputs, multi_crop.size)
        return loss, logs

    def _queries(self, multi_crop: MultiCropBatch, outputs: NetworkOutputs) -> Tensor:
        """Patch tokens of global view 2, those it was encoded from, and of all local views, [B, Q, D]."""
        queries = [outputs.views[0].patches[multi_crop.size :]]
        if multi_crop.kept is not None:
            queries[0] = queries[0].gather(1, multi_crop.kept[..., None].expand(-1, -1, queries[0].shape[-1]))
        for tokens in outputs.views[1:]:
            queries += torch.split(tokens.patches, multi_crop.size)
        return torch.cat(queries, dim=1)

    def _reference(self, multi_crop: MultiCropBatch, outputs: NetworkOutputs) -> Tensor:
        """Patch tokens of global view 1, [B, N, D]."""
        if self.loca.reference == "student":
            return outputs.views[0].patches[: multi_crop.size]
        assert outputs.teacher_tokens is not None
        return outputs.teacher_tokens.patches[: multi_crop.size]

    def _cluster(self, queries: Tensor, cell: Tensor, count: Tensor, outputs: NetworkOutputs, size: int) -> Tensor:
        name, loca = "loca_prototypes", self.loca
        assert outputs.teacher_tokens is not None
        scores = outputs.student.parts[name](queries.flatten(0, 1))
        scores = scores.reshape(*queries.shape[:2], -1)
        with torch.no_grad():
            reference = outputs.teacher_tokens.patches[:size]
            teacher_scores = outputs.teacher.parts[name](reference.flatten(0, 1))
            # The authors' order: softmax first, then three rounds on its rows.
            log_q = (teacher_scores.float() / loca.teacher_temperature).log_softmax(-1)
            targets = apply_sinkhorn(log_q, 1.0).reshape(*reference.shape[:2], -1)
        tau = loca.student_temperature
        feature = cluster_loss(scores, targets, cell, tau) / count
        return feature + mean_entropy_penalty(scores, tau)


def check_query_patches(settings: PretrainSettings) -> None:
    """ConfigError where `loca.query_patches` asks for more patches than a view has, or for a network that needs all."""
    asked, network = settings.loca.query_patches, settings.network
    patches = (settings.crops.global_size // network.patch) ** 2
    if asked is not None and asked > patches:
        raise ConfigError(
            "a global view has fewer patches", where="loca.query_patches", expected=f"at most {patches}",
            found=str(asked), fix="lower it, or raise crops.global_size",
        )  # fmt: skip
    if asked is not None and (network.life or network.source != "medprior"):
        raise ConfigError(
            "the network's blocks need every patch of a view", where="loca.query_patches",
            expected="network.source=medprior without life", fix="set loca.query_patches=null",
        )  # fmt: skip
