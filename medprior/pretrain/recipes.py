"""Named settings of pretraining, and their joins."""

from __future__ import annotations

from typing import Any

from medprior.settings import merge_mappings

RECIPES: dict[str, dict[str, Any]] = {
    "dino": {},
    "koleo": {"dino": {"koleo_weight": 0.1}},
    "nokoleo": {"dino": {"koleo_weight": 0.0}},
    "ibot": {"ibot": {"weight": 1.0}},
    "span": {"span": {"weight": 0.3}},
    "sar": {"sar": {"weight": 0.01}},
    "nosn": {"network": {"nosn": True}},
    "loca": {"loca": {"weight": 0.5}},
    "loca-alone": {"dino": {"weight": 0.0, "koleo_weight": 0.0}, "loca": {"weight": 1.0, "warmup": 0.0}},
    "life": {"network": {"life": True}},
    "all": {"span": {"weight": 0.3}, "sar": {"weight": 0.01}, "loca": {"weight": 0.5}, "ibot": {"weight": 1.0}},
}
"""What each recipe adds to DINO with KoLeo at 0.1; joined by `+`.

`nokoleo` is DINO as published, `dino` and `koleo` are DINO with KoLeo. `loca-alone` is LOCA's objective without DINO.
"""

RECIPE_BASE: dict[str, Any] = {"span": {"weight": 0.0}}


def build_recipe_settings(name: str) -> dict[str, Any]:
    """The settings of a recipe such as `dino` or `span+sar+loca`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    parts = name.split("+")
    unknown = [part for part in parts if part not in RECIPES]
    if unknown:
        raise ValueError(
            f"no recipe {', '.join(map(repr, unknown))}; recipes are {', '.join(RECIPES)}, and "
            "joins of them such as span+sar+loca"
        )
    values = RECIPE_BASE
    for part in parts:
        values = merge_mappings(values, RECIPES[part])
    return values
