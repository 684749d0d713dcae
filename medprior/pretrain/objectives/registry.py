"""Which objectives a run has: those whose weight is above 0, and no trace of the others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from medprior.pretrain.objectives.dino import DinoObjective
from medprior.pretrain.objectives.ibot import IbotObjective
from medprior.pretrain.objectives.koleo import KoleoObjective
from medprior.pretrain.objectives.loca import LocaObjective
from medprior.pretrain.objectives.objective import Objective
from medprior.pretrain.objectives.sar import SarObjective
from medprior.pretrain.objectives.span import SpanObjective
from medprior.pretrain.settings import PretrainSettings

OBJECTIVE_ORDER = ("dino", "koleo", "ibot", "span", "sar", "loca")


def build_objectives(settings: PretrainSettings, heads: Sequence[int]) -> nn.ModuleDict:
    """The objectives of a run, by name, in the order of `ORDER`.

    Args:
        settings: resolved settings.
        heads: head of the last block for each structure of the prior, -1 where it is yet to be
            assigned; empty without a prior.
    """
    found: dict[str, Objective] = {}
    if settings.dino.weight:
        found["dino"] = DinoObjective(settings.dino)
    if settings.dino.koleo_weight:
        found["koleo"] = KoleoObjective(settings.dino)
    if settings.ibot.weight:
        found["ibot"] = IbotObjective(settings)
    if settings.span.weight and len(heads):
        found["span"] = SpanObjective(settings, heads)
    if settings.sar.weight:
        found["sar"] = SarObjective(settings.sar)
    if settings.loca.weight:
        found["loca"] = LocaObjective(settings)
    assert list(found) == [name for name in OBJECTIVE_ORDER if name in found]
    return nn.ModuleDict(found)
