"""Turns folders of DICOM, PNG, JPEG, TIFF and BMP files into cohorts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.ingest.pipeline import ingest_images
    from medprior.ingest.settings import IngestSettings

__all__ = ["IngestSettings", "ingest_images"]

# Decoding processes need only part of this package.
__getattr__ = import_on_first_use(
    __name__,
    {
        "IngestSettings": ".settings",
        "ingest_images": ".pipeline",
    },
)
