"""Generates small valid radiograph files on which decoders and readers are tried."""

from __future__ import annotations

import importlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames

from medprior.dicom.eligibility import DX_PRESENTATION

LOSSY_JPEG_SYNTAXES = {str(uid.JPEGBaseline8Bit), str(uid.JPEGExtended12Bit)}
PYDICOM_ENCODED_SYNTAXES = {str(uid.RLELossless), str(uid.JPEGLSLossless), str(uid.JPEG2000Lossless)}
GDCM_ENCODED_SYNTAXES = {
    str(uid.JPEGLossless): "JPEGLosslessProcess14",
    str(uid.JPEGLosslessSV1): "JPEGLosslessProcess14_1",
    str(uid.JPEGExtended12Bit): "JPEGExtendedProcess2_4",
    str(uid.JPEG2000): "JPEG2000",
    str(uid.JPEGLSNearLossless): "JPEGLSNearLossless",
}


def create_sample_picture(rows: int = 96, cols: int = 80, bits: int = 12) -> NDArray[np.uint16]:
    """Create a smooth, asymmetric picture with the full range of values: uint16 [rows, cols]."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : cols * 1j]
    field = 0.6 * x + 0.3 * y + 0.1 * np.sin(9 * x * y)
    scaled = (field - field.min()) / np.ptp(field) * (2**bits - 1)
    return np.asarray(np.rint(scaled), dtype=np.uint16)


def create_sample_dataset(stored: NDArray[Any], bits: int = 12, **elements: Any) -> Dataset:
    """Create an uncompressed DX image for presentation from `stored`; `elements` override by keyword.

    Shape:
        stored: integer [rows, cols]; 8-bit cells for uint8 and int8, 16-bit cells otherwise.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.Modality = DX_PRESENTATION, "DX"
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = "1.2.826.0.1.1", "1.2.826.0.1.2"
    dataset.PatientID, dataset.PatientSex, dataset.PatientAge = "sample", "F", "050Y"
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", "PA"
    dataset.PresentationIntentType, dataset.BurnedInAnnotation = "FOR PRESENTATION", "NO"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    data = np.ascontiguousarray(stored).astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset.add_new(0x7FE00010, "OW" if stored.dtype.itemsize == 2 else "OB", data + b"\0" * (len(data) % 2))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def serialise_dataset(dataset: Dataset) -> bytes:
    """Serialise a data set as the bytes of a DICOM file."""
    buffer = io.BytesIO()
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.save_as(
        buffer, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian
    )
    return buffer.getvalue()


def compress_dataset(dataset: Dataset, syntax: str) -> Dataset:
    """Compress the pixels of `dataset` with transfer syntax `syntax`, in place.

    Raises:
        NotImplementedError: no encoder for this transfer syntax is installed.
    """
    if syntax in PYDICOM_ENCODED_SYNTAXES:
        dataset.compress(uid.UID(syntax), generate_instance_uid=False)
        return dataset
    if syntax == uid.JPEGBaseline8Bit:
        picture = Image.frombytes("L", (dataset.Columns, dataset.Rows), dataset.PixelData)
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=95)
        frame = buffer.getvalue()
    elif syntax in GDCM_ENCODED_SYNTAXES:
        frame = compress_with_gdcm(dataset, GDCM_ENCODED_SYNTAXES[syntax])
    else:
        raise NotImplementedError("no encoder for this transfer syntax")
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    return dataset


def compress_with_gdcm(dataset: Dataset, name: str) -> bytes:
    """Compress one frame with GDCM through temporary files."""
    gdcm: Any = importlib.import_module("gdcm")
    with tempfile.TemporaryDirectory() as folder:
        source, target = str(Path(folder, "source.dcm")), str(Path(folder, "target.dcm"))
        Path(source).write_bytes(serialise_dataset(dataset))
        reader = gdcm.ImageReader()
        reader.SetFileName(source)
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
        if not reader.Read():
            raise NotImplementedError("GDCM cannot read the sample")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise NotImplementedError("GDCM cannot write this transfer syntax")
        writer = gdcm.ImageWriter()
        writer.SetFileName(target)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise NotImplementedError("GDCM cannot write this transfer syntax")
        return next(generate_frames(pydicom.dcmread(target).PixelData, number_of_frames=1))
