"""Annotate one radiograph with masks of its structures, the single example of a spatial prior."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.annotate.annotation import Annotation
    from medprior.annotate.sources import annotate_from_cohort, annotate_from_files

__all__ = ["Annotation", "annotate_from_cohort", "annotate_from_files"]

__getattr__ = import_on_first_use(
    __name__,
    {
        "Annotation": ".annotation",
        "annotate_from_cohort": ".sources",
        "annotate_from_files": ".sources",
    },
)
