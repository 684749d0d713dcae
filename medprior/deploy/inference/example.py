"""Creates a small phantom as DICOM: the input example and smoke check of a registered model."""

from __future__ import annotations

import io

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.uid import DigitalXRayImageStorageForPresentation as DX_FOR_PRESENTATION

from medprior.phantom import render_phantom

EXAMPLE_SIDE_PX = 192
MAX_PIXEL_VALUE = 4095


def create_example_dicom(seed: int = 0, side: int = EXAMPLE_SIDE_PX) -> bytes:
    """The bytes of a phantom as a plain 12-bit DX file; the same arguments give the same bytes.

    Args:
        seed: selects the patient.
        side: rows and columns.
    """
    image = render_phantom(seed, size=side)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = DX_FOR_PRESENTATION
    uid = UID(f"2.25.{seed + 1}")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = uid
    dataset.PatientID, dataset.PatientName = f"EXAMPLE{seed}", "Synthetic^Example"
    dataset.PatientSex, dataset.PatientAge = image.facts["sex"], f"{int(image.facts['age']):03d}Y"
    dataset.Modality, dataset.BodyPartExamined = "DX", "CHEST"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.ViewPosition = image.facts["view"]
    dataset.PatientOrientation = ["L", "F"]
    dataset.PixelSpacing = [float(value) for value in image.facts["spacing_mm"]]
    dataset.Rows, dataset.Columns = image.pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.BurnedInAnnotation = 0, "NO"
    dataset.WindowCenter, dataset.WindowWidth = (MAX_PIXEL_VALUE + 1) / 2, MAX_PIXEL_VALUE + 1
    dataset.PixelData = np.rint(image.pixels * MAX_PIXEL_VALUE).astype("<u2").tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
