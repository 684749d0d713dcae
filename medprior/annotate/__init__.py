"""One radiograph and where its structures lie: the one example a spatial prior is made from."""

from medprior.annotate.annotation import Annotation
from medprior.annotate.sources import annotate_from_cohort, annotate_from_files

__all__ = ["Annotation", "annotate_from_cohort", "annotate_from_files"]
