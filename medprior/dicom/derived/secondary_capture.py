"""Builds a Secondary Capture image (PS3.3 A.8.1) from a picture with overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medprior.dicom.derived.derived_object import MANUFACTURER, MODEL_NAME, CreatorInfo
from medprior.dicom.radiograph import RESEARCH_NOTE

if TYPE_CHECKING:
    from highdicom.sc import SCImage


def build_secondary_capture(rgb: NDArray[np.uint8], source: Dataset, creator: CreatorInfo) -> SCImage:
    """Build the image of a colour picture that is derived from one radiograph.

    Args:
        rgb: uint8 [rows, cols, 3], on the stored pixels of the source.
        source: the source's header, from `read_source_header`.
        creator: the software that created it.

    Raises:
        ValueError: the picture has another size, or the header cannot be copied.
    """
    from highdicom.sc import SCImage

    if rgb.shape != (source.Rows, source.Columns, 3):
        raise ValueError("the picture and its source differ in size")
    capture = SCImage.from_ref_dataset(
        source,
        pixel_array=rgb,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=tuple(source.get("PatientOrientation", ("L", "F"))),
        series_instance_uid=creator.build_uid(source, "sc series"),
        series_number=9003,
        sop_instance_uid=creator.build_uid(source, "sc"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=creator.version,
        device_serial_number=creator.digest,
        series_description="medprior overlay, research only",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.ConversionType = "WSD"
    capture.BodyPartExamined = "CHEST"
    capture.DerivationDescription = RESEARCH_NOTE
    capture.SourceImageSequence = [build_source_reference(source)]
    if "PatientOrientation" not in source:
        capture["PatientOrientation"].value = None  # type 2C: the source does not say
    if "BurnedInAnnotation" in source:
        # The overlay adds no identifying text; text in the source's pixels remains in the picture.
        capture.BurnedInAnnotation = source.BurnedInAnnotation
    return capture


def build_source_reference(source: Dataset) -> Dataset:
    """Build a reference to the source image."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return item
