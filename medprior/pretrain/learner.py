"""Student, teacher and objectives: one training step without any engine around it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medprior.networks.views import cut_maps
from medprior.networks.vit import Tokens, VisionTransformer
from medprior.pretrain.augment import ViewBatch
from medprior.pretrain.dino import centred_softmax, dino_loss, entropy, sinkhorn, updated_centre
from medprior.pretrain.head import ProjectionHead
from medprior.pretrain.koleo import koleo_loss
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.span import span_kl, visible


@dataclass(frozen=True)
class PriorMaps:
    """Prior maps of a batch's images and the heads that follow them.

    Shape:
        maps: [B, K, S, S] in [0, 1] on the unit squares. weight: [B] in [0, 1], trust in each.
        heads: int64 [K], the head of the last block assigned to each structure.
    """

    maps: Tensor
    weight: Tensor
    heads: Tensor


class Net(nn.Module):
    """A ViT and its projection head."""

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        dino = settings.dino
        assert dino.prototypes is not None
        self.backbone = VisionTransformer(settings.network)
        self.head = ProjectionHead(
            settings.network.width, dino.hidden, dino.bottleneck, dino.prototypes,
            batch_norm=bool(dino.batch_norm),
        )  # fmt: skip

    def forward(self, pixels: list[Tensor], capture: bool) -> tuple[list[Tokens], Tensor]:
        """Tokens of each stack of views, and the head's scores of all of them, in order."""
        tokens = [self.backbone(x, capture and i == 0) for i, x in enumerate(pixels)]
        scores: Tensor = self.head(torch.cat([t.cls for t in tokens]))
        return tokens, scores


class Learner(nn.Module):
    """The state that training changes: student, teacher, centre."""

    centre: Tensor

    def __init__(self, settings: PretrainSettings) -> None:
        super().__init__()
        self.settings = settings
        self.student = Net(settings)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(self.student.head.prototypes.shape[0]))

    def losses(
        self,
        student: nn.Module,
        globals_: ViewBatch,
        locals_: ViewBatch | None,
        prior: PriorMaps | None,
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Every objective's loss for one batch, and what is worth logging.

        Args:
            student: the student, perhaps wrapped for several processes.
            globals_: global views.
            locals_: local views, None without any.
            prior: maps for SPAN, None without it.
        """
        pixels = [globals_.pixels] + ([locals_.pixels] if locals_ else [])
        tokens, scores = student(pixels, prior is not None)
        size = len(globals_.pixels) // 2
        teacher, logs = self._teach(globals_.pixels, size)
        student_scores = scores.reshape(-1, size, scores.shape[-1])
        dino = self.settings.dino
        found = {"dino": dino_loss(student_scores, teacher, dino.student_temperature)}
        if dino.koleo_weight:
            halves = tokens[0].cls.reshape(2, size, -1)
            found["koleo"] = (koleo_loss(halves[0]) + koleo_loss(halves[1])) / 2
        if prior is not None:
            found["span"], extra = self._span(tokens[0], globals_, prior)
            logs.update(extra)
        with torch.no_grad():
            unit = nn.functional.normalize(tokens[0].cls[:size].float(), dim=-1)
            logs["feature_std"] = float(unit.std(0).mean() * unit.shape[1] ** 0.5)
        return found, logs

    @torch.no_grad()
    def _teach(self, pixels: Tensor, size: int) -> tuple[Tensor, dict[str, float]]:
        dino = self.settings.dino
        assert dino.teacher_temperature is not None
        _, scores = self.teacher([pixels], False)
        if dino.teacher == "sinkhorn":
            halves = scores.reshape(2, size, -1)
            teacher = torch.stack([sinkhorn(half, dino.teacher_temperature) for half in halves])
        else:
            teacher = centred_softmax(scores, self.centre, dino.teacher_temperature)
            teacher = teacher.reshape(2, size, -1)
            self.centre.copy_(updated_centre(self.centre, scores, dino.centre_momentum))
        mean = teacher.flatten(0, 1).mean(0)
        return teacher, {
            "teacher_entropy": float(entropy(teacher)),
            "mean_entropy": float(entropy(mean[None])),
        }

    def _span(
        self, tokens: Tokens, views: ViewBatch, prior: PriorMaps
    ) -> tuple[Tensor, dict[str, float]]:
        assert tokens.cls_logits is not None
        assert tokens.cls_mass is not None
        span = self.settings.span
        patches = cut_maps(prior.maps, views.geometry, views.index)
        area = torch.as_tensor(
            views.geometry.box[:, 2] * views.geometry.box[:, 3], device=patches.device
        )
        source = prior.maps.mean((-1, -2))[views.index] / area[:, None].to(patches.dtype)
        gate = visible(patches, source, span.visible_share, span.visible_cover)
        weight = gate * prior.weight[views.index][:, None]
        logits = tokens.cls_logits[:, prior.heads]
        loss, each = span_kl(logits, patches, weight, span.epsilon)
        logs = {f"span_kl_{k}": float(value) for k, value in enumerate(each)}
        logs["cls_mass"] = float(tokens.cls_mass[:, prior.heads].detach().mean())
        return loss, logs

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher towards the student: teacher = m * teacher + (1 - m) * student."""
        teacher: list[Tensor] = list(self.teacher.parameters())
        student: list[Tensor] = list(self.student.parameters())
        torch._foreach_lerp_(teacher, student, 1 - momentum)
