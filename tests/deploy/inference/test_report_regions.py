"""Lines, boxes and segments of a prediction, on the pixels of its file."""

import io
import json

import numpy as np
import pytest

from medprior.deploy.inference import report_regions
from medprior.deploy.inference.dicom_output import build_dicom_objects
from medprior.deploy.inference.object_kinds import OBJECT_KINDS, format_object_file
from medprior.deploy.inference.predict_files import predict_path
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.inference.report_regions import build_finding_boxes, build_report_lines, build_report_segments
from medprior.dicom import read_image
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio
from tests.dicom.object_sources import CASES, source


def predict(**changes) -> RadiographPrediction:
    """A prediction of rectangles, none of them symmetric in the picture."""
    radiograph = read_image(io.BytesIO(source(**changes)))
    rows, columns = radiograph.pixels.shape
    y, x = np.mgrid[:rows, :columns]
    y, x = y * 120 / rows, x * 96 / columns
    masks = {
        "right_lung": (y >= 20) & (y < 90) & (x >= 8) & (x < 36),
        "left_lung": (y >= 30) & (y < 80) & (x >= 56) & (x < 92),
        "heart": (y >= 60) & (y < 100) & (x >= 32) & (x < 72),
        "nodule": ((y >= 40) & (y < 44) & (x >= 12) & (x < 20)) | ((y >= 50) & (y < 52) & (x >= 60) & (x < 64)),
        "mediastinum": np.zeros((rows, columns), bool),
    }
    return RadiographPrediction(
        radiograph.pixels, "ab" * 32, "cd" * 32, masks=masks, native=NativeGrid.from_radiograph(radiograph),
        cardiothoracic=measure_cardiothoracic_ratio(masks), facts={"spacing_mm": radiograph.spacing_mm},
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_lines_touch_the_borders_of_the_stored_masks(case):
    prediction = predict(**CASES[case])
    native, lines = prediction.native, {line.name: line for line in build_report_lines(prediction)}
    heart = native.to_stored(prediction.masks["heart"]).any(axis=0)
    lungs = native.to_stored(prediction.masks["left_lung"] | prediction.masks["right_lung"]).any(axis=0)
    for name, columns in (("cardiac_diameter", heart), ("thoracic_diameter", lungs)):
        ends = sorted(lines[name].points[:, 0])
        assert ends == pytest.approx([np.flatnonzero(columns)[0], np.flatnonzero(columns)[-1] + 1], abs=0.51)
        (length,) = lines[name].measurements
        spacing = CASES[case].get("ImagerPixelSpacing")
        wanted = (ends[1] - ends[0]) * (spacing[1] if spacing else 1)
        assert (length.value, length.unit.value) == (pytest.approx(wanted), "mm" if spacing else "{pixels}")


def test_each_part_of_a_finding_has_a_box_the_largest_first():
    boxes, remarks = build_finding_boxes(predict())
    assert [box.name for box in boxes] == ["nodule box 1", "nodule box 2"]
    assert boxes[0].points.tolist() == [[12, 40], [20, 40], [20, 44], [12, 44], [12, 40]]
    assert boxes[1].points.tolist() == [[60, 50], [64, 50], [64, 52], [60, 52], [60, 50]]
    assert remarks == []


def test_boxes_left_out_are_said(monkeypatch):
    monkeypatch.setattr(report_regions, "MAX_BOXES", 1)
    boxes, remarks = build_finding_boxes(predict())
    assert len(boxes) == 1
    assert "largest of 2 boxes" in remarks[0]


def test_segments_have_their_number_and_area():
    segments = {segment.name: segment for segment in build_report_segments(predict())}
    assert {name: segment.number for name, segment in segments.items()} == {
        "right_lung": 1, "left_lung": 2, "heart": 3, "nodule": 4,
    }  # fmt: skip
    assert [(m.value, m.unit.value) for m in segments["heart"].measurements] == [(1600, "{pixels}")]
    (area,) = build_report_segments(predict(ImagerPixelSpacing=[0.3, 0.2]))[2].measurements
    assert (area.value, area.unit.value) == (pytest.approx(1600 * 0.3 * 0.2, rel=0.03), "mm2")


def test_every_kind_is_built_and_objects_of_masks_only_with_masks():
    prediction, content = predict(), source()
    assert list(build_dicom_objects(prediction, io.BytesIO(content), tuple(OBJECT_KINDS))) == list(OBJECT_KINDS)
    bare = RadiographPrediction(prediction.pixels, "ab" * 32, "cd" * 32, native=prediction.native)
    assert set(build_dicom_objects(bare, io.BytesIO(content), tuple(OBJECT_KINDS))) == {"sr", "sc", "gsps"}


def test_further_kinds_join_those_of_an_earlier_run(tmp_path):
    (tmp_path / "one.dcm").write_bytes(source())
    out, prediction = tmp_path / "out", predict()
    for kinds, answered, files in (
        (("seg",), 0, {"seg"}),
        (("nrrd", "gsps"), 0, {"seg", "nrrd", "gsps"}),
        (("gsps", "seg"), 1, {"seg", "nrrd", "gsps"}),
        ((), 1, {"seg", "nrrd", "gsps"}),
    ):
        counts = predict_path(tmp_path / "one.dcm", out, lambda _: prediction, "cd" * 32, dicom=kinds)
        assert counts.already_answered == answered
        record = json.loads(next(out.glob("0*.json")).read_text())
        assert set(record["dicom"]["files"]) == files
        assert {path.name for path in (out / "dicom").iterdir()} == {
            format_object_file(record["item"], kind) for kind in files
        }
