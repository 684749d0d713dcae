"""Writes a phantom image as a DICOM file of its vendor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from medprior.phantom.pixel_encoding import encode_pixels
from medprior.phantom.render import PhantomImage
from medprior.phantom.vendors import Vendor
from medprior.phantom.voi import VoiTransform

GIVEN_NAMES = ("Ada", "Bela", "Cleo", "Dana", "Edda", "Fay", "Gil", "Hal", "Ines", "Jon", "Kim", "Lou")
VIEW_MAGNIFICATION = {"PA": 1.08, "AP": 1.15}  # detector plane over patient plane (our choice)


@dataclass(frozen=True)
class PhantomIdentity:
    """Fictional patient, study and dates of an image.

    Attributes:
        patient: identifier of the patient.
        number: counts the patients from 1.
        study: counts the patient's studies from 1.
        image: identifier of the image.
        seed: of the cohort; enters every UID.
        study_date: date of the study.
        birth_date: of the patient.
    """

    patient: str
    number: int
    study: int
    image: str
    seed: int
    study_date: date
    birth_date: date


def build_phantom_uid(identity: PhantomIdentity, kind: str) -> str:
    """A UID under 2.25 that depends on the identity alone."""
    parts = (identity.seed, identity.patient, identity.study, kind)
    text = "/".join(str(part) for part in parts)
    digest = hashlib.sha256(text.encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_phantom_dicom(
    path: Path, image: PhantomImage, vendor: Vendor, voi: VoiTransform, identity: PhantomIdentity
) -> None:
    """Write one DICOM file; the same arguments give the same bytes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID(vendor.sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(build_phantom_uid(identity, identity.image))
    set_patient_attributes(dataset, image, identity)
    set_equipment_attributes(dataset, image, vendor, identity)
    set_pixel_attributes(dataset, image, vendor)
    set_display_attributes(dataset, vendor, voi)
    encode_pixels(dataset, convert_to_stored(image, vendor), vendor.syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def convert_to_stored(image: PhantomImage, vendor: Vendor) -> NDArray[np.uint16]:
    """Convert the signal to stored values, [rows, cols]; inverts MONOCHROME1 and pads if needed."""
    levels = np.rint(image.signal.astype(np.float64) * vendor.max_stored_value).astype(np.int64)
    if vendor.inverted:
        levels = vendor.max_stored_value - levels
    if vendor.padding is not None:
        # Only padding has the padding value.
        levels = np.where(levels == vendor.padding, vendor.padding + 1, levels)
        levels = np.where(image.field, levels, vendor.padding)
    return levels.astype(np.uint16)


def set_patient_attributes(dataset: Dataset, image: PhantomImage, identity: PhantomIdentity) -> None:
    """Patient and study, fictional."""
    day = identity.study_date.strftime("%Y%m%d")
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = f"Phantom^{GIVEN_NAMES[identity.number % len(GIVEN_NAMES)]}"
    dataset.PatientID = identity.patient
    dataset.PatientBirthDate = identity.birth_date.strftime("%Y%m%d")
    dataset.PatientSex = image.facts["sex"]
    dataset.PatientAge = f"{int(image.facts['age']):03d}Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = "101500"
    dataset.ContentTime = "101500"
    dataset.AccessionNumber = f"F{identity.number:05d}{identity.study:02d}"
    dataset.StudyID = str(identity.study)
    dataset.ReferringPhysicianName = "Nobody^At All"
    dataset.StudyDescription = "Chest, digital phantom"
    dataset.StudyInstanceUID = build_phantom_uid(identity, "study")


def set_equipment_attributes(dataset: Dataset, image: PhantomImage, vendor: Vendor, identity: PhantomIdentity) -> None:
    """Series, equipment, acquisition and geometry."""
    dataset.SOPClassUID = vendor.sop_class
    dataset.SOPInstanceUID = build_phantom_uid(identity, identity.image)
    dataset.SeriesInstanceUID = build_phantom_uid(identity, "series")
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.Modality = vendor.modality
    dataset.Manufacturer = vendor.name
    dataset.ManufacturerModelName = vendor.model
    dataset.InstitutionName = "House of Phantoms"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = image.facts["view"]
    dataset.PatientOrientation = ["L", "F"]
    dataset.Laterality = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.BurnedInAnnotation = "NO"
    dataset.KVP = 110 if image.facts["view"] == "PA" else 85
    set_geometry_attributes(dataset, image, vendor)
    if vendor.modality == "CR":
        dataset.PlateID = f"PL{identity.number % 40:04d}"
        return
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PresentationLUTShape = "INVERSE" if vendor.inverted else "IDENTITY"
    dataset.ImageLaterality = "U"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if vendor.inverted else -1
    dataset.DetectorType = "DIRECT"
    dataset.LossyImageCompression = "00"


def set_geometry_attributes(dataset: Dataset, image: PhantomImage, vendor: Vendor) -> None:
    """Detector spacing as ImagerPixelSpacing; DX adds the magnification factor, CR repeats it as PixelSpacing."""
    patient = image.facts["spacing_mm"][0]
    magnification = VIEW_MAGNIFICATION[image.facts["view"]]
    detector = [round(patient * magnification, 6)] * 2
    dataset.ImagerPixelSpacing = detector
    if vendor.modality == "DX":
        dataset.EstimatedRadiographicMagnificationFactor = magnification
    else:
        dataset.PixelSpacing = detector


def set_pixel_attributes(dataset: Dataset, image: PhantomImage, vendor: Vendor) -> None:
    """Bits, polarity and padding."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if vendor.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.signal.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = vendor.bits
    dataset.HighBit = vendor.bits - 1
    dataset.PixelRepresentation = 0
    if vendor.padding is not None:
        dataset.PixelPaddingValue = vendor.padding


def set_display_attributes(dataset: Dataset, vendor: Vendor, voi: VoiTransform) -> None:
    """Modality rescale and values of interest, in the units and polarity of the file."""
    slope, intercept = vendor.slope or 1.0, vendor.intercept or 0.0
    if vendor.slope is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.RescaleType = "US"
    if voi.kind == "TABLE":
        dataset.VOILUTSequence = [build_voi_lut(vendor, voi)]
        return
    # PS3.3 C.11.2.1.2: LINEAR runs from c-0.5-(w-1)/2 to c-0.5+(w-1)/2.
    extra = 1.0 if voi.kind == "LINEAR" else 0.0
    centre = (1 - voi.centre if vendor.inverted else voi.centre) * vendor.max_stored_value
    centre = slope * centre + intercept + 0.5 * extra
    width = slope * voi.width * vendor.max_stored_value + extra
    if voi.kind == "LINEAR":
        dataset.WindowCenter = [round(centre, 3), round(centre, 3)]
        dataset.WindowWidth = [round(width, 3), round(1.6 * width, 3)]
        dataset.WindowCenterWidthExplanation = ["NORMAL", "WIDE"]
        return
    dataset.WindowCenter, dataset.WindowWidth = round(centre, 3), round(width, 3)
    dataset.VOILUTFunction = voi.kind


def build_voi_lut(vendor: Vendor, voi: VoiTransform) -> Dataset:
    """The display curve as a table over every stored value, in the file's polarity."""
    entries = vendor.max_stored_value + 1
    signal = np.linspace(0.0, 1.0, entries)
    displayed = voi.apply(signal.astype(np.float32)).astype(np.float64)
    if vendor.inverted:
        displayed = 1.0 - displayed[::-1]
    table = Dataset()
    table.add_new((0x0028, 0x3002), "US", [entries, 0, 16])
    table.LUTExplanation = "CHEST"
    table.add_new((0x0028, 0x3006), "OW", np.rint(displayed * 65535).astype("<u2").tobytes())
    return table
