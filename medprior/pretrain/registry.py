"""Which objectives a run has: those whose weight is above 0, and no trace of the others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from medprior.pretrain.dino import Dino
from medprior.pretrain.ibot import Ibot
from medprior.pretrain.koleo import Koleo
from medprior.pretrain.loca import Loca
from medprior.pretrain.objective import Objective
from medprior.pretrain.sar import Sar
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.span import Span

ORDER = ("dino", "koleo", "ibot", "span", "sar", "loca")


def objectives_of(settings: PretrainSettings, heads: Sequence[int]) -> nn.ModuleDict:
    """The objectives of a run, by name, in the order of `ORDER`.

    Args:
        settings: resolved settings.
        heads: head of the last block for each structure of the prior, -1 where it is yet to be
            assigned; empty without a prior.
    """
    found: dict[str, Objective] = {}
    if settings.dino.weight:
        found["dino"] = Dino(settings.dino)
    if settings.dino.koleo_weight:
        found["koleo"] = Koleo(settings.dino)
    if settings.ibot.weight:
        found["ibot"] = Ibot(settings)
    if settings.span.weight and len(heads):
        found["span"] = Span(settings, heads)
    if settings.sar.weight:
        found["sar"] = Sar(settings.sar)
    if settings.loca.weight:
        found["loca"] = Loca(settings)
    assert list(found) == [name for name in ORDER if name in found]
    return nn.ModuleDict(found)
