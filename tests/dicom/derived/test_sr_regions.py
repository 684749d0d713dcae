"""Regions of a report, read back with highdicom: points, codes, and the segment they refer to."""

import io

import numpy as np
import pytest
from highdicom.sr import srread

from medprior.dicom import read_image
from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.seg import build_segmentation
from medprior.dicom.derived.seg_codes import ORGAN_CATEGORY, ORGAN_CODES
from medprior.dicom.derived.sr import ReportContent, build_structured_report
from medprior.dicom.derived.sr_regions import AREA_CODE, LENGTH_CODE, MILLIMETRE, PIXELS, ReportRegion, ReportSegment
from medprior.dicom.derived.sr_regions import ReportMeasurement as Number
from tests.dicom.object_sources import CASES, MAKER, blob, opened, source
from tests.dicom.validation import list_validation_errors

LINE = np.array([[10.25, 40.5], [60.0, 40.5]])
CONTENT = ReportContent(
    cardiothoracic_ratio=0.5,
    regions=[
        ReportRegion(
            "cardiac_diameter", ORGAN_CATEGORY, ORGAN_CODES["heart"], LINE, [Number(LENGTH_CODE, 12.5, MILLIMETRE)]
        )
    ],
    segments=[ReportSegment("heart", 2, [Number(AREA_CODE, 99, PIXELS)])],
)


def build(with_segmentation=True, **changes):
    content = source(**changes)
    header = read_source_header(io.BytesIO(content))
    radiograph = read_image(io.BytesIO(content))
    native = NativeGrid.from_radiograph(radiograph)
    masks = {"left_lung": native.to_radiograph(~blob()), "heart": native.to_radiograph(blob())}
    segmentation = build_segmentation(masks, header, native, MAKER) if with_segmentation else None
    return serialise_object(build_structured_report(CONTENT, header, MAKER, segmentation)), segmentation


@pytest.mark.parametrize("case", CASES)
def test_lines_and_segments_come_back(case, tmp_path):
    content, segmentation = build(**CASES[case])
    groups = {
        group.tracking_identifier: group
        for group in srread(io.BytesIO(content)).content.get_planar_roi_measurement_groups()
    }
    assert set(groups) == {"cardiac_diameter", "segment heart"}
    line = groups["cardiac_diameter"]
    np.testing.assert_array_equal(line.roi.value, LINE)
    assert (line.finding_type.value, line.finding_category.value) == ("80891009", "91723000")
    (length,) = line.get_measurements()
    assert (length.name.value, float(length.value), length.unit.value) == ("410668003", 12.5, "mm")
    reference = groups["segment heart"].referenced_segmentation_frame[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
    frame = opened(serialise_object(segmentation)).pixel_array[reference.ReferencedFrameNumber - 1]
    np.testing.assert_array_equal(frame.astype(bool), blob())
    assert list_validation_errors(content, tmp_path) == []


def test_the_evidence_lists_the_segmentation_only_where_it_is_given():
    for given in (True, False):
        report = opened(build(given)[0])
        studies = report.CurrentRequestedProcedureEvidenceSequence
        series = [one for study in studies for one in study.ReferencedSeriesSequence]
        classes = {item.ReferencedSOPClassUID for one in series for item in one.ReferencedSOPSequence}
        assert ("1.2.840.10008.5.1.4.1.1.66.4" in classes) is given
