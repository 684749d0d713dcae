"""Reads DICOM, PNG, JPEG, TIFF and BMP files as display-ready chest radiographs."""

from typing import TYPE_CHECKING, Any

from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Radiograph, RawIdentifiers

if TYPE_CHECKING:
    from medprior.dicom.raster import read_image, read_raster
    from medprior.dicom.reading import read_radiograph

__all__ = ["Policy", "Radiograph", "RawIdentifiers", "read_image", "read_radiograph", "read_raster"]


def __getattr__(name: str) -> Any:
    """Import on first use: opening a cohort or owning decoding processes needs no parser."""
    if name in {"read_image", "read_raster"}:
        from medprior.dicom import raster

        return getattr(raster, name)
    if name == "read_radiograph":
        from medprior.dicom.reading import read_radiograph

        return read_radiograph
    raise AttributeError(name)
