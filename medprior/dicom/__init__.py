"""Reads DICOM, PNG, JPEG, TIFF and BMP files as display-ready chest radiographs."""

from typing import TYPE_CHECKING

from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Radiograph, RawIdentifiers
from medprior.lazy_imports import import_on_first_use

if TYPE_CHECKING:
    from medprior.dicom.raster import read_image, read_raster
    from medprior.dicom.reading import read_radiograph

__all__ = ["Policy", "Radiograph", "RawIdentifiers", "read_image", "read_radiograph", "read_raster"]

# Opening a cohort or owning decoding processes needs no parser.
__getattr__ = import_on_first_use(
    __name__,
    {
        "read_image": ".raster",
        "read_raster": ".raster",
        "read_radiograph": ".reading",
    },
)
