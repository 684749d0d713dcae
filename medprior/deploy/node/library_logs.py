"""Keeps messages of DICOM libraries, which quote values of files, out of the log."""

from __future__ import annotations

import logging
import warnings

DICOM_LIBRARIES = ("pynetdicom", "pydicom", "highdicom", "dicomweb_client")


def silence_dicom_libraries() -> None:
    """Log nothing of these libraries, and show no warning of any library, in this process."""
    for name in DICOM_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
