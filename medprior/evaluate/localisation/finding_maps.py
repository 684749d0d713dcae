"""Map sources for findings: attention and roll-out of a classifier, and fixed baseline maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from medprior.cohort import Cohort
from medprior.evaluate.localisation.map_sources import PriorSource
from medprior.networks import resample_maps_to_source
from medprior.networks.attention import compute_attention_maps
from medprior.networks.class_rollout import compute_finding_rollout, compute_token_contributions
from medprior.networks.encoder import Encoder
from medprior.networks.heads import Classifier
from medprior.networks.rollout import collect_block_attention, compute_cls_rollout

if TYPE_CHECKING:
    from medprior.finetune.model import Model

MAP_KINDS = ("head", "pooled", "rollout", "class_rollout")
NO_ATTENTION = "no attention: the network is no Vision Transformer"
CENTRE_SPREAD = 0.25  # standard deviation of the `centre` map, share of the side; our choice


def has_vit_attention(model: Model) -> bool:
    """Whether the model is a Vision Transformer; a convolutional network has no attention."""
    # A property that raises counts as absent too.
    try:
        return isinstance(model.network.vit, Encoder)
    except Exception:
        return False


def list_map_kinds(model: Model) -> tuple[tuple[str, ...], str]:
    """Kinds of map a classifier provides, and the reason why others are missing, or ""."""
    if not has_vit_attention(model):
        return (), NO_ATTENTION
    if getattr(model.network, "kind", "") != "pooled":
        kinds = tuple(kind for kind in MAP_KINDS if kind != "pooled")
        return kinds, "no pooled map: its classification head pools no tokens by attention"
    return MAP_KINDS, ""


class ClassifierMapSource:
    """One kind of map of a classifier as a source of maps (see `scoring.MapSource`).

    Args:
        model: a classifier with attention.
        kind: `head`, CLS attention of the last block, one map per head; `pooled`, the pooling
            weights of the tokens behind each finding's logit; `rollout`, the classic roll-out of the
            CLS token (Abnar and Zuidema 2020), one map for all findings; `class_rollout`, the dense
            roll-out weighted by the gradient of each finding's logit (`networks.class_rollout`).
        findings: labels of the model; `pooled` and `class_rollout` give one map for each.
        batch: images per forward pass.
    """

    def __init__(self, model: Model, kind: str, findings: Sequence[str], batch: int = 32) -> None:
        self.model, self.kind, self.batch = model, kind, batch
        self.outputs = [model.labels.index(name) for name in findings]
        heads = model.vit.settings.heads
        self.count = {"head": heads, "rollout": 1}.get(kind, len(findings))
        assignments = {"head": {}, "rollout": dict.fromkeys(findings, 0)}
        self.assigned: dict[str, int] = assignments.get(kind, {name: index for index, name in enumerate(findings)})
        self.has_selectable_maps = kind == "head"

    def batches(self, cohort: Cohort, size: int) -> Iterator[NDArray[np.float32]]:
        """Maps float32 [b, M, size, size] >= 0, bilinear on unit squares."""
        squares, aspect = cohort.open_squares(self.model.source_size), cohort.aspect
        for start in range(0, len(cohort), self.batch):
            rows = slice(start, start + self.batch)
            images, boxes = self.model.create_views(squares[rows], aspect[rows])
            yield resample_maps_to_source(self.compute_maps(images), boxes, size).cpu().numpy()

    def compute_maps(self, images: Tensor) -> Tensor:
        """Maps over the patches of model inputs [B, 1, S, S]: [B, M, rows, columns]."""
        network, vit = self.model.network, self.model.vit
        rows = vit.patch_grid(images)[0]
        if self.kind == "head":
            return compute_attention_maps(vit, images)
        if self.kind == "rollout":
            rollout = compute_cls_rollout(collect_block_attention(vit, images), nosn=vit.settings.nosn)[:, None]
            return rearrange(rollout[..., vit.prefix :], "b c (y x) -> b c y x", y=rows)
        assert isinstance(network, Classifier)
        if self.kind == "pooled":
            weights = compute_token_contributions(network, images)[:, self.outputs]
            return rearrange(weights[..., vit.prefix :], "b c (y x) -> b c y x", y=rows)
        return compute_finding_rollout(network, images, self.outputs).maps


class ConstantMapSource:
    """One map for all images and findings: a baseline that does not use the image.

    Args:
        kind: `uniform`, or `centre`: a Gaussian about the middle of the image.
        findings: the labels it is scored for.
        batch: images per batch.
    """

    has_selectable_maps = False
    count = 1

    def __init__(self, kind: str, findings: Sequence[str], batch: int = 64) -> None:
        self.kind, self.batch = kind, batch
        self.assigned = dict.fromkeys(findings, 0)

    def batches(self, cohort: Cohort, size: int) -> Iterator[NDArray[np.float32]]:
        """The map once per image, float32 [b, 1, size, size]."""
        offsets = ((np.arange(size) + 0.5) / size - 0.5) / CENTRE_SPREAD
        gaussian = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None] ** 2))
        fixed_map = (np.ones_like(gaussian) if self.kind == "uniform" else gaussian).astype(np.float32)
        for start in range(0, len(cohort), self.batch):
            yield np.repeat(fixed_map[None, None], min(self.batch, len(cohort) - start), axis=0)


class OrganPriorSource(PriorSource):
    """The maps of an organ prior; the organ for each finding is chosen on validation images."""

    has_selectable_maps = True

    def __init__(self, prior: PriorSource) -> None:
        super().__init__(prior.prior, prior.per_image, prior.batch)
        self.assigned = {}
