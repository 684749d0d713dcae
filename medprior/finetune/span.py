"""SPAN beside a supervised loss, so that heads stay on their structures (methods 3).

The loss, its targets and what a view must show are those of `medprior.pretrain.objectives.span`; that the term
goes on in fine-tuning, at one weight throughout, is our choice: labels pull on the heads from the
first step on.
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
from medprior.pretrain.objectives.head_assignment import assign_heads
from medprior.pretrain.objectives.objective import PriorMaps, Scene
from medprior.pretrain.objectives.span import SpanObjective
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.augment import ViewBatch

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior


def match_heads_to_prior(prior: SpatialPrior, shape: ViTSettings, of_backbone: Mapping[str, int]) -> dict[str, int]:
    """Structure -> head that is to follow the prior.

    The backbone's own heads where it has some; else those that SPAN would assign.

    Raises:
        ConfigError: the prior has none of the backbone's structures, or too many for the network.
    """
    if not of_backbone:
        return assign_heads(prior.names, shape.heads, None, life=shape.life)
    found = {name: head for name, head in of_backbone.items() if name in prior.names}
    if not found:
        raise ConfigError(
            "the prior has none of the structures the backbone's heads follow", where="--prior",
            expected=", ".join(of_backbone), found=", ".join(prior.names),
        )  # fmt: skip
    return found


class PriorTargets:
    """The maps that an image's heads are to follow.

    Args:
        prior: of the cohort. The images it was drawn on count nothing.
        names: structures, in the order of their heads.
    """

    def __init__(self, prior: SpatialPrior, names: tuple[str, ...]) -> None:
        self.prior = prior
        self.names = names
        self.rows = np.array([prior.names.index(name) for name in names], dtype=np.intp)

    def of(self, image_id: str) -> dict[str, Tensor]:
        """`maps` float32 [K, M, M] in [0, 1], `trust` float32 []."""
        trust = 0.0 if image_id in self.prior.excluded else self.prior.trust(image_id)
        maps = np.array(self.prior.maps_for(image_id)[self.rows], dtype=np.float32)
        return {"maps": torch.from_numpy(maps), "trust": torch.tensor(trust)}


class SupervisedSpan:
    """Reads the CLS row that the backbone computes in training, and makes SPAN's loss of it.

    Args:
        vit: the backbone; from now on it captures the row whenever it is in training mode.
        settings: `span_weight`.
        heads: the head of each structure, in the order of the maps.
    """

    def __init__(self, vit: Encoder, settings: FinetuneSettings, heads: tuple[int, ...]) -> None:
        chosen = PretrainSettings.checked({"network": vit.settings.model_dump(), "steps": 1})
        self.weight = settings.span_weight
        self.heads = list(heads)
        self.span = SpanObjective(chosen, heads)
        self.row = ClsRowCapture(vit)

    def loss(self, images: Tensor, views: Views, maps: Tensor, trust: Tensor) -> Tensor:
        """The weighted mean divergence of the pairs that count, for the latest training pass.

        Args:
            images: the views' pixels [B, 1, S, S].
            views: where they lie in their images.
            maps: [B, K, M, M] in [0, 1] on the unit squares.
            trust: [B] in [0, 1].
        """
        logits, grid = self.row.take()
        index = torch.arange(len(images), device=images.device)
        batch = ViewBatch(images, Views(views.box, views.flip, grid), index)
        (followed,), count = self.span.targets(Scene(batch, prior=PriorMaps(maps, trust)))
        count = (all_reduce_sum(count) / world_size()).clamp_min(1e-6)
        target = build_attention_target(followed.cover, self.span.settings.epsilon)
        divergence = kl_divergence(AttentionComparison(logits[:, self.heads], followed.cover, target))
        return self.weight * (divergence * followed.gate).sum() / count
