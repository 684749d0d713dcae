"""Cohorts on disk: manifest, pixel store, masks, labels and splits."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.cohort.cohort import Cohort
    from medprior.cohort.splits import assign_patient_splits
    from medprior.cohort.writer import CohortWriter

__all__ = ["Cohort", "CohortWriter", "assign_patient_splits"]

_MODULE_BY_NAME = {"Cohort": "cohort", "CohortWriter": "writer", "assign_patient_splits": "splits"}


def __getattr__(name: str) -> Any:
    """Import a name on first use: prediction needs neither pandas nor pyarrow."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"medprior.cohort.{_MODULE_BY_NAME[name]}"), name)
