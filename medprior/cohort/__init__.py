"""Cohorts on disk: manifest, pixel store, masks, labels and splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.cohort.cohort import Cohort
    from medprior.cohort.splits import assign_patient_splits
    from medprior.cohort.writer import CohortWriter

__all__ = ["Cohort", "CohortWriter", "assign_patient_splits"]

# Prediction needs neither pandas nor pyarrow.
__getattr__ = import_on_first_use(
    __name__,
    {
        "Cohort": ".cohort",
        "CohortWriter": ".writer",
        "assign_patient_splits": ".splits",
    },
)
