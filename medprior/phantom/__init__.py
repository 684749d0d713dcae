"""Generates chest radiographs of a digital thorax with their truth, as arrays or DICOM files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.phantom.generate import generate_phantom_cohort
    from medprior.phantom.render import PhantomImage, render_phantom
    from medprior.phantom.settings import FINDINGS, STRUCTURES, PhantomSettings

__all__ = ["FINDINGS", "STRUCTURES", "PhantomImage", "PhantomSettings", "generate_phantom_cohort", "render_phantom"]

_MODULE_BY_NAME = {
    "FINDINGS": "settings",
    "STRUCTURES": "settings",
    "PhantomImage": "render",
    "PhantomSettings": "settings",
    "generate_phantom_cohort": "generate",
    "render_phantom": "render",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the command line starts quickly."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"medprior.phantom.{_MODULE_BY_NAME[name]}"), name)
