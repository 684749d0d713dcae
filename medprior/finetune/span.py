"""SPAN loss (arXiv 2209.03745) beside a supervised loss: assigned heads stay on their structures.

Loss, targets and the visibility rule for views are those of `medprior.pretrain.objectives.span`.
Keeping the term in fine-tuning, at one weight throughout, is our choice: the label loss moves the
heads from the first step on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medprior.errors import ConfigError
from medprior.finetune.cls_row_capture import ClsRowCapture
from medprior.finetune.settings import FinetuneSettings
from medprior.geometry import Views
from medprior.networks.encoder import Encoder
from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.distributed import all_reduce_sum, world_size
from medprior.pretrain.objectives.divergences import AttentionComparison, build_attention_target, kl_divergence
from medprior.pretrain.objectives.head_assignment import assign_heads, select_heads
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.objectives.span import SpanObjective
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewBatch

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def match_heads_to_prior(prior: SpatialPrior, shape: ViTSettings, backbone_heads: Mapping[str, int]) -> dict[str, int]:
    """Structure -> head that follows the prior.

    The backbone's assigned heads if it has any, otherwise those that SPAN would assign.

    Raises:
        ConfigError: the prior has none of the backbone's structures, or too many for the network.
    """
    if not backbone_heads:
        return assign_heads(prior.names, shape.heads, None, life=shape.life)
    matched = {name: head for name, head in backbone_heads.items() if name in prior.names}
    if not matched:
        raise ConfigError(
            "the prior has none of the structures the backbone's heads follow", where="--prior",
            expected=", ".join(backbone_heads), found=", ".join(prior.names),
        )  # fmt: skip
    return matched


class PriorTargets:
    """The prior's maps of each image, as targets of the attention heads.

    Args:
        prior: of the cohort. Its annotated images have trust 0.
        names: structures, in the order of their heads.
    """

    def __init__(self, prior: SpatialPrior, names: tuple[str, ...]) -> None:
        self.prior = prior
        self.names = names
        self.rows = np.array([prior.names.index(name) for name in names], dtype=np.intp)

    def load_targets(self, image_id: str) -> dict[str, Tensor]:
        """`maps` float32 [K, M, M] in [0, 1], `trust` float32 []."""
        trust = 0.0 if image_id in self.prior.excluded else self.prior.trust(image_id)
        maps = np.array(self.prior.maps_for(image_id)[self.rows], dtype=np.float32)
        return {"maps": torch.from_numpy(maps), "trust": torch.tensor(trust)}


class SupervisedSpan:
    """SPAN's loss of the CLS row that the backbone computes in training.

    Args:
        vit: the backbone; it captures the row from now on whenever it is in training mode.
        settings: `span_weight`.
        heads: the head of each structure, in the order of the maps.
    """

    def __init__(self, vit: Encoder, settings: FinetuneSettings, heads: tuple[int, ...]) -> None:
        pretrain_settings = PretrainSettings.from_values({"network": vit.settings.model_dump(), "steps": 1})
        self.weight = settings.span_weight
        self.heads = list(heads)
        self.span = SpanObjective(pretrain_settings, heads)
        self.row = ClsRowCapture(vit)

    def loss(self, images: Tensor, views: Views, maps: Tensor, trust: Tensor) -> Tensor:
        """The weighted mean divergence of visible (image, structure) pairs in the latest training pass.

        Args:
            images: the views' pixels [B, 1, S, S].
            views: their boxes in the source images.
            maps: [B, K, M, M] in [0, 1] on the unit squares.
            trust: [B] in [0, 1].
        """
        logits, grid = self.row.take()
        index = torch.arange(len(images), device=images.device)
        batch = ViewBatch(images, Views(views.box, views.flip, grid), index)
        (targets,), count = self.span.targets(MultiCropBatch(batch, prior=PriorMaps(maps, trust)))
        count = (all_reduce_sum(count) / world_size()).clamp_min(1e-6)
        target = build_attention_target(targets.cover, self.span.settings.epsilon)
        divergence = kl_divergence(AttentionComparison(select_heads(logits, self.heads), targets.cover, target))
        return self.weight * (divergence * targets.gate).sum() / count
