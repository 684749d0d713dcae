"""Annotate one radiograph with masks of its structures, the single example of a spatial prior."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.annotate.annotation import Annotation
    from medprior.annotate.sources import annotate_from_cohort, annotate_from_files

__all__ = ["Annotation", "annotate_from_cohort", "annotate_from_files"]

_MODULE_BY_NAME = {"Annotation": "annotation", "annotate_from_cohort": "sources", "annotate_from_files": "sources"}


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the command line starts quickly."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"medprior.annotate.{_MODULE_BY_NAME[name]}"), name)
