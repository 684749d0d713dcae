"""Planar regions of a structured report (PS3.16 TID 1410): lines and boxes as SCOORD, and segments of a SEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from medprior.dicom.derived.derived_object import CreatorInfo
from medprior.dicom.derived.seg_codes import find_segment_codes

if TYPE_CHECKING:
    from highdicom.sr import AlgorithmIdentification, PlanarROIMeasurementsAndQualitativeEvaluations

LENGTH_CODE = Code("410668003", "SCT", "Length")
AREA_CODE = Code("42798000", "SCT", "Area")
MILLIMETRE, SQUARE_MILLIMETRE = Code("mm", "UCUM", "mm"), Code("mm2", "UCUM", "mm2")
PIXELS = Code("{pixels}", "UCUM", "pixels")


@dataclass(frozen=True)
class ReportMeasurement:
    """One number: the code of its quantity, its value and its unit."""

    quantity: Code
    value: float
    unit: Code


@dataclass(frozen=True)
class ReportRegion:
    """A line or an outline on the radiograph.

    Attributes:
        name: identifies it in the report.
        category: code of the kind of finding, such as anatomical structure.
        finding: code of what was measured or found.
        points: float64 [points, 2], (column, row) on the pixels of the file; closed where first and last agree.
        measurements: numbers about it.
    """

    name: str
    category: Code
    finding: Code
    points: NDArray[np.float64]
    measurements: Sequence[ReportMeasurement] = ()


@dataclass(frozen=True)
class ReportSegment:
    """One segment of a segmentation: its name, its number, which is also that of its frame, and numbers about it."""

    name: str
    number: int
    measurements: Sequence[ReportMeasurement] = ()


def build_region_groups(
    regions: Sequence[ReportRegion], source: Dataset, creator: CreatorInfo
) -> list[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Build a group for each line or outline, with its coordinates on the source image."""
    from highdicom.sr import ImageRegion, SourceImageForRegion

    image = SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID)
    return [
        build_planar_group(
            region.name, (region.category, region.finding), region.measurements, source, creator,
            referenced_region=ImageRegion("POLYLINE", region.points, image),
        )
        for region in regions
    ]  # fmt: skip


def build_segment_groups(
    segments: Sequence[ReportSegment], segmentation: Dataset, source: Dataset, creator: CreatorInfo
) -> list[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Build a group for each segment, with a reference to its frame in the segmentation."""
    from highdicom.sr import ReferencedSegmentationFrame, SourceImageForSegmentation

    image = SourceImageForSegmentation(source.SOPClassUID, source.SOPInstanceUID)
    groups = []
    for segment in segments:
        frame = ReferencedSegmentationFrame(
            segmentation.SOPClassUID, segmentation.SOPInstanceUID, segment.number, segment.number, image
        )
        del frame[0].ReferencedSOPSequence[0].ReferencedSegmentNumber  # not beside a frame number (PS3.3 10.3)
        codes = find_segment_codes(segment.name)
        name = f"segment {segment.name}"
        groups.append(build_planar_group(name, codes, segment.measurements, source, creator, referenced_segment=frame))
    return groups


def build_planar_group(
    name: str,
    codes: tuple[Code, Code],
    measurements: Sequence[ReportMeasurement],
    source: Dataset,
    creator: CreatorInfo,
    **reference: Any,
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Build one group from the category and the type of its finding and a reference to a region or a segment."""
    from highdicom.sr import Measurement, PlanarROIMeasurementsAndQualitativeEvaluations, TrackingIdentifier

    category, finding = codes
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(creator.build_uid(source, f"sr {name}"), name),
        finding_category=category,
        finding_type=finding,
        algorithm_id=identify_algorithm(creator),
        measurements=[Measurement(item.quantity, round(item.value, 3), item.unit) for item in measurements],
        **reference,
    )


def identify_algorithm(creator: CreatorInfo) -> AlgorithmIdentification:
    """The algorithm of a group: medprior, its version and the digest of its models."""
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification("medprior", creator.version, parameters=[f"model_digest={creator.digest}"])
