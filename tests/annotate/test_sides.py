"""Segments of one name in a DICOM SEG: kept apart where they are the two lungs."""

import io

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medprior.annotate import annotate_from_files
from medprior.annotate.mask_inputs import MaskInputs
from medprior.dicom import read_image
from medprior.dicom.derived.derived_object import read_source_header, serialise_object
from medprior.dicom.derived.seg import read_seg
from medprior.dicom.lung_sides import assign_lung_sides
from tests.annotate.drawings import LEFT, RIGHT, inside
from tests.dicom.object_sources import source

STORED = (120, 96)
LUNG = Code("39607008", "SCT", "Lung")
ON_RIGHT, ON_LEFT = inside(LEFT, STORED), inside(RIGHT, STORED)


def segmentation(masks, kinds=None):
    """A file of another tool: every segment called Lung, none with a side."""
    kinds = kinds or [LUNG] * len(masks)
    described = [
        highdicom.seg.SegmentDescription(n, "Lung", codes.SCT.Organ, kind, "MANUAL")
        for n, kind in enumerate(kinds, start=1)
    ]
    made = highdicom.seg.Segmentation(
        [read_source_header(io.BytesIO(source()))], np.stack(masks, axis=-1)[None].astype(np.uint8),
        "BINARY", described, "1.9.1", 1, "1.9.2", 1, "other", "other", "1", "1",
    )  # fmt: skip
    return serialise_object(made)


def annotated(tmp_path, content, names=None):
    (tmp_path / "chest.dcm").write_bytes(source())
    (tmp_path / "lungs.dcm").write_bytes(content)
    given = MaskInputs(annotations=tmp_path / "lungs.dcm", names=names or {})
    return annotate_from_files(tmp_path / "chest.dcm", given)


@pytest.mark.parametrize("order", [1, -1])
def test_two_lungs_without_a_side_are_both_kept(tmp_path, order):
    content = segmentation([ON_RIGHT, ON_LEFT][::order])
    made = annotated(tmp_path, content)
    assert made.structures == ("left_lung", "right_lung")
    np.testing.assert_array_equal(made.masks["left_lung"], ON_RIGHT)
    np.testing.assert_array_equal(made.masks["right_lung"], ON_LEFT)
    assert any("without a side" in words for words in made.warnings)
    read = read_seg(io.BytesIO(content), read_image(io.BytesIO(source())))
    np.testing.assert_array_equal(read["left_lung"], ON_RIGHT)


def test_a_mirrored_picture_is_judged_as_it_is_shown(tmp_path):
    mirrored = {"PatientOrientation": ["R", "F"]}
    content = pydicom.dcmread(io.BytesIO(segmentation([ON_RIGHT, ON_LEFT])))
    buffer = io.BytesIO()
    content.save_as(buffer)
    read = read_seg(buffer, read_image(io.BytesIO(source(**mirrored))))
    np.testing.assert_array_equal(read["right_lung"], ON_RIGHT[:, ::-1])


def test_what_lies_over_each_other_is_one_structure(tmp_path):
    upper, lower = ON_RIGHT.copy(), ON_RIGHT.copy()
    upper[50:], lower[:50] = False, False
    made = annotated(tmp_path, segmentation([upper, lower]))
    assert made.structures == ("lungs",)
    np.testing.assert_array_equal(made.masks["lungs"], ON_RIGHT)
    assert any("lungs: 2 drawings of this name were joined" in words for words in made.warnings)


def test_three_or_a_named_side_or_one_over_both_are_joined():
    whole = ON_RIGHT | ON_LEFT
    part = np.zeros(STORED, bool)
    part[40:50, 60:70] = True
    for parts, lungs in (
        ([("lungs", ON_RIGHT), ("lungs", ON_LEFT), ("lungs", part)], whole),
        ([("lungs", whole), ("lungs", ON_LEFT)], whole),
        ([("lungs", ON_LEFT), ("left_lung", ON_RIGHT), ("lungs", part)], ON_LEFT | part),
    ):
        found, warnings = assign_lung_sides(parts)
        np.testing.assert_array_equal(found["lungs"], lungs)
        assert len(warnings) == 1
    found, warnings = assign_lung_sides([("Lung", ON_RIGHT), ("heart", part)])
    assert (list(found), warnings) == (["Lung", "heart"], ())
    found, warnings = assign_lung_sides([("heart", part), ("heart", ON_LEFT)])
    np.testing.assert_array_equal(found["heart"], part | ON_LEFT)
    assert "joined" in warnings[0]
