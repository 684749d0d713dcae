"""Named settings of pretraining, and their joins."""

from __future__ import annotations

from typing import Any

from medprior.settings import merged

RECIPES: dict[str, dict[str, Any]] = {
    "dino": {},
    "koleo": {"dino": {"koleo_weight": 0.1}},
    "nokoleo": {"dino": {"koleo_weight": 0.0}},
    "ibot": {"ibot": {"weight": 1.0}},
    "span": {"span": {"weight": 0.3}},
    "sar": {"sar": {"weight": 0.01}},
    "loca": {"loca": {"weight": 0.5}},
    "life": {"network": {"life": True}},
    "all": {
        "span": {"weight": 0.3},
        "sar": {"weight": 0.01},
        "loca": {"weight": 0.5},
        "ibot": {"weight": 1.0},
    },
}
"""What each recipe adds to DINO; joined by `+`. DINO itself has KoLeo at 0.1 unless told not to."""

NOTHING_ADDED: dict[str, Any] = {"span": {"weight": 0.0}}


def recipe_settings(name: str) -> dict[str, Any]:
    """The settings of a recipe such as `dino` or `span+sar+loca`.

    Raises:
        ValueError: an unknown name; says which are known.
    """
    parts = name.split("+")
    unknown = [part for part in parts if part not in RECIPES]
    if unknown:
        raise ValueError(
            f"no recipe {', '.join(map(repr, unknown))}; recipes are {', '.join(RECIPES)}, and "
            "joins of them such as span+sar+loca"
        )
    values = NOTHING_ADDED
    for part in parts:
        values = merged(values, RECIPES[part])
    return values
