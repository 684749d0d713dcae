"""Presentation states: the contours, filled again, are the masks on the stored pixels."""

import io

import numpy as np
import pytest

from medprior.dicom import read_image
from medprior.dicom.derived import presentation_state
from medprior.dicom.derived.derived_object import serialise_object
from medprior.dicom.derived.display_header import read_display_header
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.derived.presentation_state import MeasuringLine, build_presentation_state
from medprior.errors import Rejected
from tests.dicom.derived.test_outlines import fill_outlines
from tests.dicom.object_sources import CASES, MAKER, blob, opened, source
from tests.dicom.validation import list_validation_errors

LINE = MeasuringLine("cardiac_diameter", np.array([[10.0, 40.5], [60.0, 40.5]]))


def build(masks=None, lines=(LINE,), **changes):
    """The state of a mask that is the bright blob of the picture."""
    content = source(**changes)
    radiograph = read_image(io.BytesIO(content))
    native = NativeGrid.from_radiograph(radiograph)
    shown = {"heart": native.to_radiograph(blob()), "nodule": np.zeros(radiograph.pixels.shape, bool)}
    header = read_display_header(io.BytesIO(content))
    state = build_presentation_state(shown if masks is None else masks, lines, ["a note"], header, native, MAKER)
    return opened(serialise_object(state)), native


def polylines(annotation) -> list[np.ndarray]:
    return [np.array(item.GraphicData).reshape(-1, 2) for item in annotation.GraphicObjectSequence]


@pytest.mark.parametrize("case", CASES)
def test_filled_contours_are_the_mask_on_the_files_pixels(case):
    state, native = build(**CASES[case])
    contours, lines, notes = state.GraphicAnnotationSequence
    wanted = native.to_stored(native.to_radiograph(blob()))
    np.testing.assert_array_equal(fill_outlines(polylines(contours), wanted.shape), wanted)
    np.testing.assert_array_equal(polylines(lines)[0], LINE.points)
    assert [item.UnformattedTextValue for item in notes.TextObjectSequence][-1] == "a note"
    image = state.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert image.ReferencedSOPInstanceUID == "1.2.3.4.5"


@pytest.mark.parametrize("case", CASES)
def test_a_validator_finds_no_error(case, tmp_path):
    state, _ = build(**CASES[case])
    assert list_validation_errors(serialise_object(state), tmp_path) == []


def test_it_displays_the_picture_as_the_file_asks():
    state, _ = build(PhotometricInterpretation="MONOCHROME1", ImagerPixelSpacing=[0.3, 0.2])
    voi = state.SoftcopyVOILUTSequence[0]
    assert (voi.WindowCenter, voi.WindowWidth) == (2048, 4096)
    assert state.PresentationLUTShape == "INVERSE"
    assert list(state.DisplayedAreaSelectionSequence[0].PresentationPixelSpacing) == [0.3, 0.2]
    assert build()[0].PresentationLUTShape == "IDENTITY"
    assert list(build(PixelAspectRatio=[3, 2])[0].DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio) == [
        3,
        2,
    ]


def test_long_contours_are_split_and_still_the_mask(monkeypatch):
    monkeypatch.setattr(presentation_state, "MAX_POLYLINE_POINTS", 4)
    state, _ = build()
    pieces = polylines(state.GraphicAnnotationSequence[0])
    assert max(len(piece) for piece in pieces) == 4
    whole = np.vstack([pieces[0], *(piece[1:] for piece in pieces[1:])])
    np.testing.assert_array_equal(fill_outlines([whole], blob().shape), blob())


def test_without_masks_and_lines_the_notes_are_left():
    state, _ = build(masks={}, lines=())
    (notes,) = state.GraphicAnnotationSequence
    assert "research" in notes.TextObjectSequence[0].UnformattedTextValue


def test_masks_of_another_image_are_refused():
    header = read_display_header(io.BytesIO(source()))
    with pytest.raises(Rejected) as caught:
        build_presentation_state({}, (), (), header, NativeGrid((9, 9), (9, 9)), MAKER)
    assert caught.value.code == "geometry"
