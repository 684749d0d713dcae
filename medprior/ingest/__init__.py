"""DICOM, PNG and JPEG folders become cohorts."""

from medprior.ingest.ingesting import ingest
from medprior.ingest.settings import IngestSettings

__all__ = ["IngestSettings", "ingest"]
