"""One file in, one radiograph out: decoded, windowed, oriented, and judged before use."""

from medprior.dicom.policy import Policy
from medprior.dicom.radiograph import Identity, Radiograph
from medprior.dicom.raster import read_image, read_raster
from medprior.dicom.reading import read_radiograph

__all__ = [
    "Identity",
    "Policy",
    "Radiograph",
    "read_image",
    "read_radiograph",
    "read_raster",
]
