"""Annotate one radiograph with masks of its structures, the single example of a spatial prior."""

from medprior.annotate.annotation import Annotation
from medprior.annotate.sources import annotate_from_cohort, annotate_from_files

__all__ = ["Annotation", "annotate_from_cohort", "annotate_from_files"]
