"""Generates chest radiographs of a digital thorax with their truth, as arrays or DICOM files."""

from medprior.phantom.generate import generate_phantom_cohort
from medprior.phantom.render import PhantomImage, render_phantom
from medprior.phantom.settings import FINDINGS, STRUCTURES, PhantomSettings

__all__ = ["FINDINGS", "STRUCTURES", "PhantomImage", "PhantomSettings", "generate_phantom_cohort", "render_phantom"]
