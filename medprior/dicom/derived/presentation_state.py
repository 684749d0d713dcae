"""Builds a soft-copy presentation state (PS3.3 A.33.1): contours, measuring lines and texts over a radiograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medprior.dicom.derived.derived_object import MANUFACTURER, MODEL_NAME, CreatorInfo
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.outlines import Points, split_polyline, trace_outlines
from medprior.dicom.derived.seg import list_stored_masks
from medprior.dicom.radiograph import RESEARCH_NOTE
from medprior.errors import Rejected
from medprior.palette import structure_rgb

if TYPE_CHECKING:
    from highdicom.content import PresentationLUTTransformation
    from highdicom.pr import (
        GraphicAnnotation,
        GraphicLayer,
        GraphicObject,
        GrayscaleSoftcopyPresentationState,
        TextObject,
    )

MAX_POLYLINE_POINTS = 8000  # Graphic Data (FL) holds 65 534 bytes in explicit VR, two values of four bytes a point
LINES_RGB = (255, 255, 255)
TEXT_WIDTH_SHARE, TEXT_HEIGHT_SHARE = 0.6, 0.03  # of the columns and rows; our choice


@dataclass(frozen=True)
class MeasuringLine:
    """One measured line: its name, and its two ends (column, row) on the pixels of the file."""

    name: str
    points: Points


def build_presentation_state(
    masks: Mapping[str, NDArray[np.bool_]],
    lines: Sequence[MeasuringLine],
    notes: Sequence[str],
    source: Dataset,
    native: NativeGrid,
    creator: CreatorInfo,
) -> GrayscaleSoftcopyPresentationState:
    """Build the state: one graphic layer per mask with its contours, one for the lines, one for the texts.

    The grey values are displayed as the source asks: by its modality and VOI transformations.

    Args:
        masks: name -> bool [rows, cols] on the radiograph.
        lines: measured lines.
        notes: lines of text at the upper left.
        source: the source's header, from `read_display_header`.
        native: how the source's pixels became the radiograph's.
        creator: the software that created it.

    Raises:
        Rejected: `geometry`, the masks belong to another source.
        ValueError: the header cannot be copied.
    """
    from highdicom.pr import GrayscaleSoftcopyPresentationState

    if native.stored_shape != (source.Rows, source.Columns):
        raise Rejected("geometry", "the masks belong to another image")
    stored = [(name, mask) for name, mask in list_stored_masks(masks, source, native) if mask.any()]
    annotations = [annotate_contours(index, name, mask, source, creator) for index, (name, mask) in enumerate(stored)]
    if lines:
        annotations.append(annotate_lines(len(annotations), lines, source))
    annotations.append(annotate_notes(len(annotations), [RESEARCH_NOTE, *notes], source))
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        series_instance_uid=creator.build_uid(source, "gsps series"),
        series_number=9005,
        sop_instance_uid=creator.build_uid(source, "gsps"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=creator.version,
        device_serial_number=creator.digest,
        content_label="MEDPRIOR",
        content_description=RESEARCH_NOTE,
        graphic_layers=[layer for layer, _ in annotations],
        graphic_annotations=[annotation for _, annotation in annotations],
        presentation_lut_transformation=build_presentation_lut(source),
        series_description="medprior contours, research only",
    )
    set_pixel_shape(state, source)
    state.BodyPartExamined = "CHEST"
    state.PresentationCreationDate = creator.created_at.strftime("%Y%m%d")
    state.PresentationCreationTime = creator.created_at.strftime("%H%M%S")
    return state


def build_presentation_lut(source: Dataset) -> PresentationLUTTransformation:
    """Build the presentation LUT: inverse where the smallest value of the source is white."""
    from highdicom.content import PresentationLUTTransformation

    is_inverse = source.get("PhotometricInterpretation") == "MONOCHROME1"
    return PresentationLUTTransformation(presentation_lut_shape="INVERSE" if is_inverse else "IDENTITY")


def set_pixel_shape(state: Dataset, source: Dataset) -> None:
    """Set the shape of the displayed pixels, which the source states as spacing, as aspect ratio or not at all."""
    area = state.DisplayedAreaSelectionSequence[0]
    spacing = source.get("PixelSpacing") or source.get("ImagerPixelSpacing")
    if spacing:
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = list(spacing)
    elif "PixelAspectRatio" in source:
        area.PresentationPixelAspectRatio = list(source.PixelAspectRatio)


def annotate_contours(
    index: int, name: str, mask: NDArray[np.bool_], source: Dataset, creator: CreatorInfo
) -> tuple[GraphicLayer, GraphicAnnotation]:
    """Draw the outlines of one mask, at least one pixel, on a layer of its colour."""
    outlines = trace_outlines(mask)
    uid = creator.build_uid(source, f"gsps {name}")
    pieces = [piece for outline in outlines for piece in split_polyline(outline, MAX_POLYLINE_POINTS)]
    graphics = [create_polyline(piece, name, str(uid)) for piece in pieces]
    anchor = outlines[0][np.argmin(outlines[0][:, 1])]
    text = create_text(name.replace("_", " "), anchor=(float(anchor[0]), float(anchor[1])))
    return place_on_layer(index, name, structure_rgb(name, index), source, graphics, [text])


def annotate_lines(
    index: int, lines: Sequence[MeasuringLine], source: Dataset
) -> tuple[GraphicLayer, GraphicAnnotation]:
    """Draw the measured lines on one layer."""
    graphics = [create_polyline(line.points) for line in lines]
    return place_on_layer(index, "measurements", LINES_RGB, source, graphics, [])


def annotate_notes(index: int, notes: Sequence[str], source: Dataset) -> tuple[GraphicLayer, GraphicAnnotation]:
    """Write lines of text at the upper left."""
    width, height = source.Columns * TEXT_WIDTH_SHARE, source.Rows * TEXT_HEIGHT_SHARE
    texts = [
        create_text(note, box=(1.0, 1.0 + row * height, width, 1.0 + (row + 1) * height))
        for row, note in enumerate(notes)
        if 1.0 + (row + 1) * height <= source.Rows
    ]
    return place_on_layer(index, "notes", LINES_RGB, source, [], texts)


def create_polyline(points: Points, name: str | None = None, uid: str | None = None) -> GraphicObject:
    """Create an open or closed polyline in pixels."""
    from highdicom.pr import GraphicObject

    return GraphicObject("POLYLINE", points, "PIXEL", tracking_id=name, tracking_uid=uid)


def create_text(
    text: str, anchor: tuple[float, float] | None = None, box: tuple[float, float, float, float] | None = None
) -> TextObject:
    """Create a text at a point or in a box, in pixels."""
    from highdicom.pr import TextObject

    return TextObject(
        text, "PIXEL", bounding_box=box, anchor_point=anchor, text_justification="LEFT", anchor_point_visible=False
    )


def place_on_layer(
    index: int,
    description: str,
    rgb: tuple[int, int, int],
    source: Dataset,
    graphics: Sequence[GraphicObject],
    texts: Sequence[TextObject],
) -> tuple[GraphicLayer, GraphicAnnotation]:
    """Create layer number `index` of a colour with its graphics and texts."""
    from highdicom.color import CIELabColor
    from highdicom.pr import GraphicAnnotation, GraphicLayer
    from skimage.color import rgb2lab

    colour = CIELabColor(*(float(value) for value in rgb2lab(np.array(rgb) / 255)))
    layer = GraphicLayer(f"LAYER{index + 1}", index + 1, description[:64], colour)
    annotation = GraphicAnnotation([source], layer, graphic_objects=graphics or None, text_objects=texts or None)
    return layer, annotation
