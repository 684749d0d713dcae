"""Read masks of a radiograph from a DICOM RT Structure Set (PS3.3 A.19, C.8.8.5, C.8.8.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.image_plane import FRAME_OF_REFERENCE, ImagePlane
from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.dicom import Policy, Radiograph
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.file_opening import open_regular_file
from medprior.dicom.header import Header
from medprior.dicom.lung_sides import assign_lung_sides
from medprior.dicom.parsing import convert_parser_errors, parse_header
from medprior.errors import MedpriorError

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
STRUCTURE_SET_UID = "1.2.840.10008.5.1.4.1.1.481.3"
CLOSED, HOLED = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
MAX_PLANE_DISTANCE_MM = 1.0  # mm, our choice
SOP_CLASS, MODALITY, IMAGE, ROIS = 0x00080016, 0x00080060, 0x00081155, 0x30060020
FRAMES, STUDIES, SERIES, IMAGES = 0x30060010, 0x30060012, 0x30060014, 0x30060016
ROI_NUMBER, ROI_NAME, ROI_FRAME, ROI_CONTOURS = 0x30060022, 0x30060026, 0x30060024, 0x30060039
CONTOURS, KIND, COUNT, POINTS, OF_ROI = 0x30060040, 0x30060042, 0x30060046, 0x30060050, 0x30060084


@dataclass(frozen=True)
class RtContour:
    """One contour of a structure.

    Attributes:
        kind: Contour Geometric Type.
        coordinates: x, y and z in mm of each point in turn; empty where invalid.
        count: Number of Contour Points, None where missing.
        images: SOP instance UIDs of the referenced images; may be empty.
    """

    kind: str
    coordinates: Array = field(repr=False)
    count: int | None
    images: frozenset[str] = field(repr=False)

    def points(self, where: str) -> Array:
        """Points in mm, float64 [n, 3]; raises MedpriorError where they are invalid."""
        count = len(self.coordinates) // 3
        if not count or len(self.coordinates) % 3 or self.count not in {None, count}:
            raise MedpriorError(
                "a contour's points cannot be read",
                where=where,
                expected="x, y and z in mm of every point",
                found=f"{len(self.coordinates)} number(s) for {self.count} point(s)",
                fix="export the structures again",
            )
        return self.coordinates.reshape(-1, 3)


@dataclass(frozen=True)
class ImageReferences:
    """Images and frames of reference that a structure set refers to."""

    images: frozenset[str] = field(repr=False)
    frames: frozenset[str] = field(repr=False)


def is_structure_set(path: Path) -> bool:
    """Whether a DICOM file is an RT Structure Set."""
    with open_regular_file(path, Policy()) as (stream, size):
        header = parse_header(stream, size, Policy()).header
        return header.text(SOP_CLASS) == STRUCTURE_SET_UID or header.text(MODALITY) == "RTSTRUCT"


def read_structure_set(path: Path, radiograph: Radiograph, image: Path | None, where: str) -> ImportedMasks:
    """Structures of an RT Structure Set as masks of the radiograph in display orientation.

    Coordinates are in the patient's frame where the radiograph has position and orientation.
    Projections have neither: millimetres then count from the centre of the first stored pixel along
    columns and rows, as in tools that show such an image as a slice (our choice). A pixel is inside
    where half of it is covered. Contours of one structure are united; CLOSEDPLANAR_XOR removes the
    overlap with earlier contours.

    Args:
        path: the structure set.
        radiograph: the annotated radiograph.
        image: file of the radiograph.
        where: name of the argument, for errors.

    Raises:
        MedpriorError: the file refers to another image, the plane of the radiograph is unknown,
            or a contour is invalid.
    """
    plane = ImagePlane.from_file(image, where)
    with open_regular_file(path, Policy()) as (stream, size):
        header = parse_header(stream, size, Policy()).header
        with convert_parser_errors():
            structures = list(list_contours(header))
            references = collect_references(header, structures)
    warnings = check_references(references, radiograph, plane, where)
    native, sop = NativeGrid.from_radiograph(radiograph), radiograph.identity.sop
    masks_by_name: list[tuple[str, Mask]] = []
    for name, contours in structures:
        own_contours = [c for c in contours if not (sop and c.images) or sop in c.images]
        mask, mask_warnings = rasterise_contours(own_contours, plane, native.stored_shape, f"{where}: {name}")
        warnings += [f"{name}: {text}" for text in mask_warnings]
        if mask is not None:
            masks_by_name.append((name, native.to_radiograph(mask)))
    if not masks_by_name:
        raise MedpriorError("no contour of this image", where=where, expected=CLOSED)
    masks, side_warnings = assign_lung_sides(masks_by_name)
    if not plane.in_patient:
        warnings.append(
            "the radiograph has no position in the patient: contours were taken as millimetres "
            "from its first pixel; look at preview.png"
        )
    return ImportedMasks(masks, is_upright=True, warnings=(*warnings, *side_warnings))


def list_contours(header: Header) -> Iterator[tuple[str, list[RtContour]]]:
    """Name and contours of every structure with contours."""
    names = {read_whole_number(item, ROI_NUMBER): item.unicode(ROI_NAME).strip() for item in header.items(ROIS)}
    for item in header.items(ROI_CONTOURS):
        number = read_whole_number(item, OF_ROI)
        contours = [parse_contour(contour) for contour in item.items(CONTOURS)]
        if contours:
            yield names.get(number) or f"roi_{number}", contours


def parse_contour(item: Header) -> RtContour:
    """One item of a contour sequence."""
    texts = (item.raw(POINTS) or b"").replace(b"\0", b"").split(b"\\")
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        values = np.empty(0)
    return RtContour(item.text(KIND) or CLOSED, values, read_whole_number(item, COUNT), list_referenced_images(item))


def read_whole_number(item: Header, tag: int) -> int | None:
    """The whole number in an element, None where there is none."""
    values = item.decimals(tag)
    return int(values[0]) if len(values) == 1 and values[0] == values[0] else None


def list_referenced_images(item: Header) -> frozenset[str]:
    """SOP instance UIDs of the images that an item refers to."""
    return frozenset(reference.text(IMAGE) for reference in item.items(IMAGES)) - {""}


def collect_references(header: Header, structures: list[tuple[str, list[RtContour]]]) -> ImageReferences:
    """Images and frames that the file and its contours refer to."""
    images = {uid for _, contours in structures for contour in contours for uid in contour.images}
    frames = {item.text(ROI_FRAME) for item in header.items(ROIS)}
    for item in header.items(FRAMES):
        frames.add(item.text(FRAME_OF_REFERENCE))
        series = [s for study in item.items(STUDIES) for s in study.items(SERIES)]
        images |= {uid for item in series for uid in list_referenced_images(item)}
    return ImageReferences(frozenset(images), frozenset(frames - {""}))


def check_references(references: ImageReferences, radiograph: Radiograph, plane: ImagePlane, where: str) -> list[str]:
    """Raise MedpriorError where the references exclude the radiograph; warn where there are none.

    Images decide where the file refers to any, otherwise the frame of reference.
    """
    images, frames, sop = references.images, references.frames, radiograph.identity.sop
    is_other = bool(sop) and sop not in images if images else False
    if not images and plane.in_patient and plane.frame:
        is_other = bool(frames) and plane.frame not in frames
    if is_other:
        raise MedpriorError(
            "the structures refer to another image",
            where=where,
            expected="the radiograph given with --image",
            fix="give the radiograph that they were drawn on",
        )
    is_known = (images and sop) or (plane.in_patient and plane.frame in frames)
    return [] if is_known else ["the structures name no image: taken to be of this one"]


def rasterise_contours(
    contours: list[RtContour], plane: ImagePlane, shape: tuple[int, int], where: str
) -> tuple[Mask | None, list[str]]:
    """The mask of one structure on the stored pixels, None for no area; and warnings."""
    mask: Mask | None = None
    warnings = []
    for contour in contours:
        if contour.kind not in {CLOSED, HOLED}:
            warnings.append(f"a contour of kind {contour.kind} has no area and was left out")
            continue
        area = fill_polygons([project_contour(contour, plane, shape, where)], shape)
        if mask is None:
            mask = area
        elif contour.kind == HOLED:
            mask = mask ^ area
        else:
            if area.any() and not (area & ~mask).any():
                warnings.append("a contour lies inside another one and was filled, not cut out")
            mask = mask | area
    return mask, warnings


def project_contour(contour: RtContour, plane: ImagePlane, shape: tuple[int, int], where: str) -> Array:
    """A contour in pixels, float64 [n, 2] (x, y); raises MedpriorError where it is off the image."""
    points, distances = plane.to_pixels(contour.points(where))
    ring = parse_ring(points.tolist(), where)
    if float(distances.max()) > MAX_PLANE_DISTANCE_MM:
        raise MedpriorError(
            "the contour does not lie in the picture's plane",
            where=where,
            expected=f"all points within {MAX_PLANE_DISTANCE_MM:g} mm of it",
            found=f"{float(distances.max()):.1f} mm away",
            fix="export the structures of this radiograph, not of a CT",
        )
    x, y = ring.mean(axis=0)
    if not (0 <= x <= shape[1] and 0 <= y <= shape[0]):
        raise MedpriorError(
            "the contour lies outside the picture", where=where,
            expected=f"{shape[0]} rows x {shape[1]} columns",
            found=f"its centre at row {y:.0f}, column {x:.0f}",
            fix="check that both files are of the same image and spacing",
        )  # fmt: skip
    return ring
