"""Radiographs and segmentations as DICOM files of other tools."""

import io
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from tests.annotate.drawings import LEFT, RIGHT, SHAPE, inside, masks
from tests.dicom.object_sources import source


def write_dicom(path: Path, pixels, orientation):
    """Write a chest radiograph of 12 bits with this PatientOrientation."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.Modality, data.BodyPartExamined, data.ViewPosition = "DX", "CHEST", "PA"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.PatientOrientation = orientation
    data.PixelData = (pixels * 4095).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


LUNGS = {
    "Left lung": Code("44029006", "SCT", "Left lung"),
    "Right lung": Code("3341006", "SCT", "Right lung"),
}


def radiograph_at(path, orientation=("L", "F"), **elements):
    """A DICOM radiograph with the headers that a segmentation object copies."""
    write_dicom(path, np.random.default_rng(0).random(SHAPE), list(orientation))
    data = pydicom.dcmread(path)
    data.StudyInstanceUID, data.SeriesInstanceUID = (pydicom.uid.generate_uid() for _ in range(2))
    data.PatientID = data.PatientName = data.StudyID = data.AccessionNumber = "x"
    data.PatientBirthDate = data.StudyDate = data.StudyTime = data.PatientSex = None
    for name, value in elements.items():
        setattr(data, name, value)
    data.save_as(path)
    return data


def seg_at(path, source, names=("Left lung", "Right lung")):
    """A segmentation by highdicom, drawn on the stored pixels."""
    layers = np.stack(list(masks().values()), axis=-1)[None].astype(np.uint8)
    descriptions = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.AnatomicalStructure, LUNGS[name], "MANUAL")
        for number, name in enumerate(names, start=1)
    ]
    highdicom.seg.Segmentation(
        [source], layers, "BINARY", descriptions, pydicom.uid.generate_uid(), 1,
        pydicom.uid.generate_uid(), 1, "maker", "model", "1", "serial",
    ).save_as(path)  # fmt: skip


STORED = (120, 96)
LUNG = Code("39607008", "SCT", "Lung")
ON_RIGHT, ON_LEFT = inside(LEFT, STORED), inside(RIGHT, STORED)


def segmentation(masks, kinds=None):
    """A file of another tool: every segment called Lung, none with a side."""
    kinds = kinds or [LUNG] * len(masks)
    descriptions = [
        highdicom.seg.SegmentDescription(n, "Lung", codes.SCT.Organ, kind, "MANUAL")
        for n, kind in enumerate(kinds, start=1)
    ]
    segmented = highdicom.seg.Segmentation(
        [read_source_header(io.BytesIO(source()))], np.stack(masks, axis=-1)[None].astype(np.uint8),
        "BINARY", descriptions, "1.9.1", 1, "1.9.2", 1, "other", "other", "1", "1",
    )  # fmt: skip
    return serialise_object(segmented)
