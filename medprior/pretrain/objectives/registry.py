"""Registry of the pretraining objectives: built in, of an installed package, or of a plugin file.

The module imports no objective before one is asked for, so that settings can read their sections.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from runpy import run_path
from typing import Any

from medprior.errors import ConfigError, InputMissing
from medprior.pretrain.objectives.objective_settings import ObjectiveSettings

ENTRY_POINT_GROUP = "medprior.objectives"
OBJECTIVES: dict[str, str | type[Any]] = {
    "dino": "medprior.pretrain.objectives.dino:DinoObjective",
    "koleo": "medprior.pretrain.objectives.koleo:KoleoObjective",
    "ibot": "medprior.pretrain.objectives.ibot:IbotObjective",
    "span": "medprior.pretrain.objectives.span:SpanObjective",
    "sar": "medprior.pretrain.objectives.sar:SarObjective",
    "loca": "medprior.pretrain.objectives.loca:LocaObjective",
}
"""Name -> subclass of `Objective`, or its `module:class`; losses are summed in this order."""


@cache
def find_installed_objectives() -> dict[str, str]:
    """Name -> `module:class` of the objectives of installed packages; reading their metadata takes milliseconds."""
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}


def list_objectives() -> dict[str, type[Any]]:
    """Subclasses of `Objective` by name: those of `OBJECTIVES`, then those of installed packages."""
    registered = OBJECTIVES | {k: v for k, v in find_installed_objectives().items() if k not in OBJECTIVES}
    return {name: resolve_name(value) if isinstance(value, str) else value for name, value in registered.items()}


def list_added_sections() -> dict[str, type[ObjectiveSettings]]:
    """Settings of every objective that brings its own section, by the objective's name."""
    classes = list_objectives()
    return {name: added.section_type for name, added in classes.items() if added.section_type is not None}


def load_plugin(path: Path) -> None:
    """Import a Python file and register every subclass of `Objective` that it defines.

    Raises:
        InputMissing: no such file.
        ConfigError: the file defines no objective, or one under a registered name.
    """
    if not path.is_file():
        raise InputMissing("no such plugin", where=str(path), fix="check the path")
    module = f"medprior_plugin_{path.stem}"
    values = run_path(str(path), run_name=module).values()
    classes = [value for value in values if hasattr(value, "section_type") and value.__module__ == module]
    if not classes:
        raise ConfigError("the plugin defines no subclass of Objective", where=str(path))
    for added in classes:
        registered = OBJECTIVES.get(added.name)
        if registered is not None and getattr(registered, "__module__", None) != module:
            raise ConfigError("an objective of this name exists", where=str(path), found=added.name)
        OBJECTIVES[added.name] = added
