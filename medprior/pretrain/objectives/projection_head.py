"""The projection head whose outputs are the prototypes' scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medprior.pretrain.distributed import BatchStandardise
from medprior.pretrain.objectives.objective_settings import DinoSettings, LocaSettings, PrototypeInit
from medprior.pretrain.settings import PretrainSettings


class ProjectionHead(nn.Module):
    """MLP, L2 norm, then weight-normalised prototypes with unit gain (Caron et al. 2021, sec. 3.1).

    `batch_norm` standardises the hidden layers over the global batch. The published ViT head has none; with a few
    hundred alike radiographs the features of different images are nearly parallel at the start and the teacher
    collapses without it (measured, see README). Our choice.

    Args:
        width: D. hidden, bottleneck: of the MLP. prototypes: K.
        batch_norm: see above.
        prototype_init: see `DinoSettings`.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        bottleneck: int,
        prototypes: int,
        *,
        batch_norm: bool,
        prototype_init: PrototypeInit = "normal",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside in (width, hidden):
            layers.append(nn.Linear(inside, hidden))
            if batch_norm:
                layers.append(BatchStandardise(hidden))
            layers.append(nn.GELU())
        layers.append(nn.Linear(hidden, bottleneck))
        self.mlp = nn.Sequential(*layers)
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        if prototype_init == "uniform":
            nn.init.uniform_(self.prototypes, -(bottleneck**-0.5), bottleneck**-0.5)
        else:
            nn.init.trunc_normal_(self.prototypes, std=0.02)
        if prototype_init == "unit":
            self.prototypes.data.copy_(F.normalize(self.prototypes.data, dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B, K] in [-1, 1] of features [B, D]: cosines with the prototypes."""
        x = F.normalize(self.mlp(x), dim=-1, eps=1e-6)
        return F.linear(x, F.normalize(self.prototypes, dim=-1, eps=1e-6))


def build_projection_head(
    settings: PretrainSettings, section: DinoSettings | LocaSettings | None = None
) -> ProjectionHead:
    """A head of the shape that a resolved section says, by default DINO's."""
    shape = section or settings.dino
    assert shape.hidden is not None
    assert shape.bottleneck is not None
    assert shape.prototypes is not None
    assert shape.prototype_init is not None
    return ProjectionHead(
        settings.network.width, shape.hidden, shape.bottleneck, shape.prototypes,
        batch_norm=bool(shape.batch_norm), prototype_init=shape.prototype_init,
    )  # fmt: skip
