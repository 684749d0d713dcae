"""Generates chest radiographs of a digital thorax with their truth, as arrays or DICOM files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.phantom.generate import generate_phantom_cohort
    from medprior.phantom.render import PhantomImage, render_phantom
    from medprior.phantom.settings import FINDINGS, STRUCTURES, PhantomSettings

__all__ = ["FINDINGS", "STRUCTURES", "PhantomImage", "PhantomSettings", "generate_phantom_cohort", "render_phantom"]

__getattr__ = import_on_first_use(
    __name__,
    {
        "FINDINGS": ".settings",
        "STRUCTURES": ".settings",
        "PhantomImage": ".render",
        "PhantomSettings": ".settings",
        "generate_phantom_cohort": ".generate",
        "render_phantom": ".render",
    },
)
