"""Radiographs with one bright asymmetric blob, stored in ways that must all be undone."""

import io
from datetime import datetime

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medprior.dicom.derived.derived_object import CreatorInfo

DX, CR = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"
MAKER = CreatorInfo("0.1.0", "ab" * 32, datetime(2026, 3, 4, 5, 6, 7))
CASES = {
    "plain": {},
    "mirrored": {"PatientOrientation": ["R", "F"]},
    "upside_down": {"PatientOrientation": ["R", "H"]},
    "no_orientation": {"PatientOrientation": None},
    "monochrome1": {"PhotometricInterpretation": "MONOCHROME1"},
    "frame_of_reference": {"FrameOfReferenceUID": "1.2.3.99"},
    "computed": {"SOPClassUID": CR, "Modality": "CR", "PresentationIntentType": None},
    "tall_pixels": {"ImagerPixelSpacing": [0.3, 0.2]},
    "wide_mirrored": {"ImagerPixelSpacing": [0.2, 0.3], "PatientOrientation": ["R", "F"]},
}


def blob(rows=120, cols=96) -> np.ndarray:
    """An L, off centre: no turn of it is itself."""
    found = np.zeros((rows, cols), dtype=bool)
    found[12:84, 8:20] = True
    found[72:84, 8:50] = True
    return found


def source(**changes) -> bytes:
    """A DX file of a made-up patient; `changes` set elements, None takes one out."""
    stored = np.where(blob(), 3000, 400).astype("<u2")
    stored += np.arange(stored.size, dtype="<u2").reshape(stored.shape) % 16
    if changes.get("PhotometricInterpretation") == "MONOCHROME1":
        stored = (4095 - stored).astype("<u2")
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = DX, "1.2.3.4.5"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName, made.PatientID = "Müller^Änne", "ID-7"
    made.PatientBirthDate, made.PatientSex, made.PatientAge = "19600102", "F", "066Y"
    made.StudyDate, made.StudyTime, made.AccessionNumber = "20260304", "101112", "ACC9"
    made.StudyID, made.ReferringPhysicianName = "S1", "Doc^Tor"
    made.OperatorsName = "Not^Copied"
    made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "CHEST", "PA"
    made.PresentationIntentType, made.BurnedInAnnotation = "FOR PRESENTATION", "NO"
    made.ImageType, made.PatientOrientation = ["ORIGINAL", "PRIMARY", ""], ["L", "F"]
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.WindowCenter, made.WindowWidth = 2048, 4096
    for keyword, value in changes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    made.PixelData = stored.tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def opened(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))
