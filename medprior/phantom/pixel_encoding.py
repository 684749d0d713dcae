"""Pixels to the bytes of a transfer syntax, lossless in every case."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from medprior.phantom import jpeg_lossless
from medprior.phantom.vendors import EXPLICIT_VR, JPEG_2000, JPEG_LOSSLESS, JPEG_LS, RLE

ENCODER_PLUGINS = {
    RLE: (RLELossless, "pylibjpeg"),
    JPEG_LS: (JPEGLSLossless, "pyjpegls"),
    JPEG_2000: (JPEG2000Lossless, "pylibjpeg"),
}


def encode_pixels(dataset: Dataset, stored: NDArray[np.uint16], syntax: str) -> None:
    """Put `stored` [rows, cols] into `dataset`, whose image attributes are already set.

    Args:
        dataset: gets PixelData and the transfer syntax of its file meta.
        stored: values that fit BitsStored.
        syntax: transfer syntax UID, one of `vendors`.
    """
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == EXPLICIT_VR:
        return
    if syntax == JPEG_LOSSLESS:
        frame = jpeg_lossless.encode_jpeg_lossless(stored, int(dataset.BitsStored))
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        return
    uid, plugin = ENCODER_PLUGINS[syntax]
    dataset.compress(uid, encoding_plugin=plugin, generate_instance_uid=False)
