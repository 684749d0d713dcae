"""One radiograph and where its structures lie: the one example a spatial prior is made from."""

from medprior.annotate.annotation import Annotation
from medprior.annotate.sources import from_cohort, from_files

__all__ = ["Annotation", "from_cohort", "from_files"]
