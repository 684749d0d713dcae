"""Imports the public names of a package on first use, so that the command line and small processes start quickly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def import_on_first_use(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Build a package's `__getattr__` (PEP 562).

    Args:
        package: its `__name__`.
        modules: name -> the module that defines it, `.name` for a module of the package.
    """

    def get_attribute(name: str) -> Any:
        """The named object; AttributeError for a name that is not listed."""
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name], package), name)

    return get_attribute
