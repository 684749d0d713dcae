"""Cohorts on disk: manifest, pixel store, masks, labels and splits."""

from medprior.cohort.cohort import Cohort
from medprior.cohort.splits import assign_patient_splits
from medprior.cohort.writer import CohortWriter

__all__ = ["Cohort", "CohortWriter", "assign_patient_splits"]
