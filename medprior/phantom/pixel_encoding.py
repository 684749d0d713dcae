"""Encodes phantom pixels in the transfer syntax of a vendor, always without loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from medprior.dicom.decoding.samples import compress_dataset
from medprior.phantom.vendors import EXPLICIT_VR, JPEG_2000, JPEG_LOSSLESS, JPEG_LS, RLE

ENCODER_PLUGINS = {
    RLE: (RLELossless, "pylibjpeg"),
    JPEG_LS: (JPEGLSLossless, "pyjpegls"),
    JPEG_2000: (JPEG2000Lossless, "pylibjpeg"),
}


def encode_pixels(dataset: Dataset, stored: NDArray[np.uint16], syntax: str) -> None:
    """Encode `stored` [rows, cols] into `dataset`, whose image attributes are already set.

    JPEG Lossless (process 14, selection value 1; ITU-T T.81, Annex H) is encoded by GDCM.

    Args:
        dataset: gets PixelData and the transfer syntax of its file meta.
        stored: values that fit BitsStored.
        syntax: transfer syntax UID, one of `vendors`.
    """
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == JPEG_LOSSLESS:
        compress_dataset(dataset, syntax)
    elif syntax != EXPLICIT_VR:
        uid, plugin = ENCODER_PLUGINS[syntax]
        dataset.compress(uid, encoding_plugin=plugin, generate_instance_uid=False)
