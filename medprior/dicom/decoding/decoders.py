"""Decodes compressed frames: for each transfer syntax the fastest decoder that is correct."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders import base as decoders_base

from medprior.dicom.decoding import codestream
from medprior.dicom.decoding.codestream import CodestreamHeader
from medprior.errors import Rejected

UNCOMPRESSED_SYNTAXES = {
    str(uid.ImplicitVRLittleEndian),
    str(uid.ExplicitVRLittleEndian),
    str(uid.ExplicitVRBigEndian),
    str(uid.DeflatedExplicitVRLittleEndian),
}
SIMPLEITK = "simpleitk"
SCRATCH_LOCK = threading.Lock()
# Radiographs compress to a tenth, at most to a hundredth; the limits on bombs are our choice.
MIN_BOMB_BYTES, MAX_COMPRESSION_RATIO = 2**24, 1000
# Fastest first, measured on a 5 megapixel radiograph; the next one is used only where one is not installed.
DECODER_PLUGINS: dict[str, tuple[str, ...]] = {
    str(uid.RLELossless): ("pylibjpeg", "pydicom"),
    str(uid.JPEGBaseline8Bit): ("pillow", "gdcm", SIMPLEITK),
    str(uid.JPEGExtended12Bit): (SIMPLEITK,),
    str(uid.JPEGLossless): ("gdcm", SIMPLEITK),
    str(uid.JPEGLosslessSV1): ("gdcm", SIMPLEITK),
    str(uid.JPEGLSLossless): ("pyjpegls", "gdcm", SIMPLEITK),
    str(uid.JPEGLSNearLossless): ("pyjpegls", "gdcm", SIMPLEITK),
    str(uid.JPEG2000Lossless): ("pylibjpeg", "gdcm", SIMPLEITK),
    str(uid.JPEG2000): ("pylibjpeg", "gdcm", SIMPLEITK),
    str(uid.HTJ2KLossless): ("pylibjpeg", SIMPLEITK),
    str(uid.HTJ2KLosslessRPCL): ("pylibjpeg", SIMPLEITK),
    str(uid.HTJ2K): ("pylibjpeg", SIMPLEITK),
}
JPEG2000_FAMILY = {syntax for syntax in DECODER_PLUGINS if uid.UID(syntax).name.find("2000") >= 0}


@dataclass(frozen=True)
class PixelLayout:
    """Layout of the samples, from the Image Pixel module (PS3.3 C.7.6.3).

    Attributes:
        bits_allocated: bits of one cell, 8 or 16.
        bits_stored: bits of one sample.
        high_bit: position of the most significant bit of a sample.
        signed: whether samples are two's complement.
    """

    rows: int
    cols: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool


def read_codestream_header(data: bytes, syntax: str, layout: PixelLayout) -> CodestreamHeader:
    """Read the size and precision that the codestream of one frame states.

    Raises:
        Rejected: `syntax_unsupported` or `codestream`.
    """
    if syntax not in DECODER_PLUGINS:
        raise Rejected("syntax_unsupported", "this transfer syntax is not for still radiographs")
    if syntax == uid.RLELossless:
        return codestream.read_rle_header(data, layout.rows, layout.cols, layout.bits_allocated)
    if syntax in JPEG2000_FAMILY:
        return codestream.read_jpeg2000_header(data)
    return codestream.read_jpeg_header(data)


def decode_frame(data: bytes, syntax: str, layout: PixelLayout) -> NDArray[Any]:
    """Decode one frame after the size in its codestream was checked against the DICOM header.

    Returns:
        Integer array [rows, cols], cells as the codec left them (not yet masked to stored bits).

    Raises:
        Rejected: `syntax_unsupported`, `codestream`, `codestream_mismatch`, `too_large` or
            `decode_failed`.
    """
    frame_header = read_codestream_header(data, syntax, layout)
    is_same_size = (frame_header.rows, frame_header.cols) == (layout.rows, layout.cols)
    if not is_same_size or frame_header.components != 1:
        raise Rejected("codestream_mismatch", "header and compressed data differ in size")
    raw_bytes = layout.rows * layout.cols * layout.bits_allocated // 8
    if raw_bytes > MIN_BOMB_BYTES and raw_bytes > MAX_COMPRESSION_RATIO * len(data):
        raise Rejected("too_large", "the picture is far larger than its compressed bytes can hold")
    if frame_header.precision > layout.bits_allocated:
        raise Rejected("codestream_mismatch", "the compressed samples are wider than their cells")
    plugins = DECODER_PLUGINS[syntax]
    if syntax == uid.JPEGExtended12Bit and frame_header.precision == 8:
        plugins = DECODER_PLUGINS[str(uid.JPEGBaseline8Bit)]
    installed = next((plugin for plugin in plugins if is_decoder_installed(plugin, syntax)), None)
    if installed is None:
        raise Rejected(
            "syntax_unsupported", "no decoder of this transfer syntax is installed", fix="run `medprior doctor`"
        )
    try:
        array = decode_with_plugin(installed, data, syntax, layout)
    except MemoryError:
        raise Rejected("memory", "decoding needs more memory than allowed") from None
    except Exception:
        # Every codec has its own errors, and some quote the file. What one refuses no other one gets to see:
        # damaged data would meet the weaknesses of all of them.
        array = None
    if array is None or array.shape != (layout.rows, layout.cols):
        raise Rejected("decode_failed", "the compressed data cannot be decoded")
    return array


def is_decoder_installed(plugin: str, syntax: str) -> bool:
    """Whether a decoder of a transfer syntax can be imported here."""
    if plugin == SIMPLEITK:
        return importlib.util.find_spec("SimpleITK") is not None
    return plugin in decoders_base.get_decoder(uid.UID(syntax)).available_plugins


def decode_with_plugin(plugin: str, data: bytes, syntax: str, layout: PixelLayout) -> NDArray[Any]:
    """Decode with one named plugin."""
    if plugin == SIMPLEITK:
        return decode_with_simpleitk(data, syntax, layout)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decoder: Any = decoders_base.get_decoder(uid.UID(syntax))
        array, _ = decoder.as_array(
            encapsulate([data], has_bot=False),
            index=0,
            raw=True,
            decoding_plugin=plugin,
            rows=layout.rows,
            columns=layout.cols,
            number_of_frames=1,
            samples_per_pixel=1,
            bits_allocated=layout.bits_allocated,
            bits_stored=layout.bits_stored,
            pixel_representation=int(layout.signed),
            photometric_interpretation="MONOCHROME2",
            pixel_keyword="PixelData",
        )
    return np.asarray(array)


@lru_cache(maxsize=1)
def open_scratch_file(owner: int) -> int:
    """Open a file in memory for process `owner`; a confined process does so before it is confined.

    Returns:
        Its descriptor, the same one for each call of the process.
    """
    return os.memfd_create(f"medprior-{owner}")


@contextmanager
def fill_scratch_file(write: Callable[[BinaryIO], object]) -> Iterator[str]:
    """Fill the scratch file of this process, alone among its threads; a path, for libraries that read files only."""
    with SCRATCH_LOCK:
        descriptor = open_scratch_file(os.getpid())
        os.ftruncate(descriptor, 0)
        with open(descriptor, "w+b", closefd=False) as file:
            file.seek(0)
            write(file)
        yield f"/proc/self/fd/{descriptor}"


def decode_with_simpleitk(data: bytes, syntax: str, layout: PixelLayout) -> NDArray[Any]:
    """Decode with SimpleITK, which reads files only, through a file in memory that holds only the pixels."""
    simpleitk: Any = importlib.import_module("SimpleITK")
    dataset = build_frame_dataset(data, syntax, layout)
    with fill_scratch_file(lambda file: dataset.save_as(file, enforce_file_format=True)) as path:
        reader = simpleitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(path)
        array = simpleitk.GetArrayFromImage(reader.Execute())
    return np.asarray(array.reshape(array.shape[-2:]))


def build_frame_dataset(data: bytes, syntax: str, layout: PixelLayout) -> Dataset:
    """A minimal DICOM data set around one compressed frame."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = uid.generate_uid()
    dataset.Modality = "OT"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = layout.rows, layout.cols
    dataset.BitsAllocated, dataset.BitsStored = layout.bits_allocated, layout.bits_stored
    dataset.HighBit, dataset.PixelRepresentation = layout.bits_stored - 1, int(layout.signed)
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].VR = "OB"
    return dataset
