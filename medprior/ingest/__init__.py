"""Turns folders of DICOM, PNG, JPEG, TIFF and BMP files into cohorts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medprior.ingest.pipeline import ingest_images
    from medprior.ingest.settings import IngestSettings

__all__ = ["IngestSettings", "ingest_images"]


def __getattr__(name: str) -> Any:
    """Import on first use: decoding processes need only part of this package."""
    if name == "ingest_images":
        from medprior.ingest.pipeline import ingest_images

        return ingest_images
    if name == "IngestSettings":
        from medprior.ingest.settings import IngestSettings

        return IngestSettings
    raise AttributeError(name)
