"""Regions of a prediction on the pixels of its DICOM file: measured lines, boxes of findings, segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.presentation_state import MeasuringLine
from medprior.dicom.derived.seg_codes import (
    FINDING_CATEGORY,
    ORGAN_CATEGORY,
    ORGAN_CODES,
    THORAX_CODE,
    find_segment_codes,
)
from medprior.dicom.derived.sr_regions import (
    AREA_CODE,
    LENGTH_CODE,
    MILLIMETRE,
    PIXELS,
    SQUARE_MILLIMETRE,
    ReportMeasurement,
    ReportRegion,
    ReportSegment,
)

MAX_BOXES = 20  # of one finding, the largest; the report says how many more there were
LINE_CODES = {"cardiac_diameter": ORGAN_CODES["heart"], "thoracic_diameter": THORAX_CODE}


def locate_measured_lines(prediction: RadiographPrediction) -> list[MeasuringLine]:
    """The two diameters of the cardiothoracic ratio on the pixels of the file; none where it was not measured."""
    ratio, native = prediction.cardiothoracic, prediction.native
    if ratio is None or native is None:
        return []
    x0, x1, y = ratio.thorax
    (left, upper), (right, lower) = ratio.heart
    heart_y = (upper + lower) / 2
    ends = {"cardiac_diameter": [(left, heart_y), (right, heart_y)], "thoracic_diameter": [(x0, y), (x1, y)]}
    return [MeasuringLine(name, native.points_to_stored(np.array(points))) for name, points in ends.items()]


def build_report_lines(prediction: RadiographPrediction) -> list[ReportRegion]:
    """The measured lines with their lengths: in mm where the spacing is known, else in columns of the file."""
    spacing, native = prediction.facts.get("spacing_mm"), prediction.native
    if native is None:
        return []
    regions = []
    for line in locate_measured_lines(prediction):
        columns = abs(line.points[1, 0] - line.points[0, 0])
        length = ReportMeasurement(LENGTH_CODE, columns, PIXELS)
        if spacing:
            scale = spacing[1] * native.display_shape[1] / native.stored_shape[1]
            length = ReportMeasurement(LENGTH_CODE, columns * scale, MILLIMETRE)
        regions.append(ReportRegion(line.name, ORGAN_CATEGORY, LINE_CODES[line.name], line.points, [length]))
    return regions


def build_finding_boxes(prediction: RadiographPrediction) -> tuple[list[ReportRegion], list[str]]:
    """A box around each connected part of the masks of findings, and remarks on those left out."""
    boxes: list[ReportRegion] = []
    remarks: list[str] = []
    if prediction.native is None:
        return boxes, remarks
    for name, mask in prediction.masks.items():
        category, finding = find_segment_codes(name)
        if category != FINDING_CATEGORY:
            continue
        outlines = find_component_boxes(mask, prediction.native)
        numbered = enumerate(outlines[:MAX_BOXES], start=1)
        boxes += [ReportRegion(f"{name} box {number}", category, finding, points) for number, points in numbered]
        if len(outlines) > MAX_BOXES:
            remarks.append(f"{name}: the {MAX_BOXES} largest of {len(outlines)} boxes; the segmentation has all")
    return boxes, remarks


def find_component_boxes(mask: NDArray[np.bool_], native: NativeGrid) -> list[NDArray[np.float64]]:
    """Closed rectangles around the connected parts of a mask, the largest part first, on the pixels of the file."""
    labels, count = ndimage.label(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    slices = ndimage.find_objects(labels)
    boxes = []
    for index in np.argsort(-areas, kind="stable"):
        rows, columns = slices[index]
        left, right, top, bottom = columns.start, columns.stop, rows.start, rows.stop
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        boxes.append(native.points_to_stored(np.array(corners, dtype=np.float64)))
    return boxes


def build_report_segments(prediction: RadiographPrediction) -> list[ReportSegment]:
    """The non-empty segments with their areas: in mm2 where the spacing is known, else in pixels of the file."""
    spacing, native = prediction.facts.get("spacing_mm"), prediction.native
    if native is None:
        return []
    segments = []
    for number, (name, mask) in enumerate(prediction.masks.items(), start=1):
        if not mask.any():
            continue
        area = ReportMeasurement(AREA_CODE, float(native.to_stored(mask).sum()), PIXELS)
        if spacing:
            area = ReportMeasurement(AREA_CODE, float(mask.sum()) * spacing[0] * spacing[1], SQUARE_MILLIMETRE)
        segments.append(ReportSegment(name, number, [area]))
    return segments
