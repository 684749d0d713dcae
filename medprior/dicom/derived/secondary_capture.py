"""A picture with drawings in it as a Secondary Capture image (PS3.3 A.8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medprior.dicom.derived.derived_object import MANUFACTURER, MODEL_NAME, RESEARCH_NOTE, CreatorInfo

if TYPE_CHECKING:
    from highdicom.sc import SCImage


def build_secondary_capture(rgb: NDArray[np.uint8], source: Dataset, maker: CreatorInfo) -> SCImage:
    """A colour picture that was derived from one radiograph.

    Args:
        rgb: uint8 [rows, cols, 3], on the source's own pixels.
        source: the source's header, `source_header`.
        maker: what made it.

    Raises:
        ValueError: a picture of another size, or a header that cannot be copied.
    """
    from highdicom.sc import SCImage

    if rgb.shape != (source.Rows, source.Columns, 3):
        raise ValueError("the picture has not the size of its source")
    made = SCImage.from_ref_dataset(
        source,
        pixel_array=rgb,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=tuple(source.get("PatientOrientation", ("L", "F"))),
        series_instance_uid=maker.uid(source, "sc series"),
        series_number=9003,
        sop_instance_uid=maker.uid(source, "sc"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=maker.version,
        device_serial_number=maker.digest,
        series_description="medprior overlay, research only",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.ConversionType = "WSD"
    made.DerivationDescription = RESEARCH_NOTE
    made.SourceImageSequence = [build_source_reference(source)]
    if "PatientOrientation" not in source:
        made["PatientOrientation"].value = None  # type 2C: the source does not say
    if "BurnedInAnnotation" in source:
        # What is drawn here names nobody; what the source's pixels hold stays in the picture.
        made.BurnedInAnnotation = source.BurnedInAnnotation
    return made


def build_source_reference(source: Dataset) -> Dataset:
    """A reference to the source image."""
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    return item
