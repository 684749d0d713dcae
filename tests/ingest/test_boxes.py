"""Boxes of findings from tables laid out as the data sets publish them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.dicom.decoding.samples import create_sample_dataset, create_sample_picture, serialise_dataset
from medprior.errors import InputMissing
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.boxes import FindingBox, normalize_box, read_box_rows, write_finding_boxes
from medprior.ingest.descriptor import BoxRule
from medprior.ingest.identity import Pseudonymizer

ONE = IngestSettings(workers=1, store_size=48)
EIGHT = create_sample_picture(bits=8).astype("u1")
ROWS, COLS = EIGHT.shape


def nih(root: Path, boxes: str) -> Path:
    rows = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender"]
    for number in range(6):
        name = f"{number + 1:08d}_000.png"
        path = root / "images_001" / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(EIGHT, 3 * number, axis=1)).save(path)
        rows.append(f"{name},Infiltration|Mass,0,{number + 1},050Y,M")
    (root / "Data_Entry_2017.csv").write_text("\n".join(rows))
    (root / "BBox_List_2017.csv").write_text(boxes)
    return root


def test_nih_layout(tmp_path):
    table = (
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        f"00000001_000.png,Infiltrate,{COLS / 4},{ROWS / 2},{COLS / 2},{ROWS / 4},,,\n"
        "00000002_000.png,Mass,1.5,2.5,10,12,,,\n"
        f"00000002_000.png,Mass,{COLS + 5},2.5,10,12,,,\n"
        "00009999_000.png,Mass,1.5,2.5,10,12,,,\n"
    )
    cohort = ingest_images(nih(tmp_path / "in", table), tmp_path / "c", "nih", ONE)
    boxes = pd.read_parquet(cohort.path / "boxes.parquet")
    assert list(boxes) == ["image_id", "label", "x", "y", "width", "height"]
    assert set(boxes.label) == {"Infiltration", "Mass"}
    assert set(boxes.image_id) <= set(cohort.image_ids)
    first = boxes[boxes.label == "Infiltration"].iloc[0]
    np.testing.assert_allclose(first[["x", "y", "width", "height"]].tolist(), [0.25, 0.5, 0.5, 0.25])
    summary = json.loads((cohort.path / "summary.json").read_text())
    assert summary["boxes"] == 2
    assert summary["boxes_unusable"] == 1
    again = ingest_images(tmp_path / "in", tmp_path / "c", "nih", ONE)
    pd.testing.assert_frame_equal(pd.read_parquet(again.path / "boxes.parquet"), boxes)


def test_a_table_without_a_column_is_named(tmp_path):
    table = "Image Index,Finding Label,x,y,w\n00000001_000.png,Mass,1,2,3\n"
    with pytest.raises(InputMissing, match=r"BBox_List_2017\.csv: a column is missing.*height"):
        ingest_images(nih(tmp_path / "in", table), tmp_path / "c", "nih", ONE)


def test_rsna_layout(tmp_path):
    folder = tmp_path / "in" / "stage_2_train_images"
    folder.mkdir(parents=True)
    picture = create_sample_picture()
    ids = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(3)]
    for number, name in enumerate(ids):
        (folder / f"{name}.dcm").write_bytes(serialise_dataset(create_sample_dataset(picture, PatientID=f"p{number}")))
    lines = ["patientId,x,y,width,height,Target", f"{ids[0]},,,,,0"]
    lines += [f"{ids[1]},2,4,10,8,1", f"{ids[1]},20,4,10,8,1"]
    (tmp_path / "in" / "stage_2_train_labels.csv").write_text("\n".join(lines))
    cohort = ingest_images(tmp_path / "in", tmp_path / "c", "rsna", ONE)
    table = pd.read_parquet(cohort.path / "boxes.parquet")
    assert table.label.tolist() == ["Lung Opacity"] * 2
    row = cohort.manifest.set_index("image_id").loc[table.image_id[0]]
    np.testing.assert_allclose(table.width * row.cols, [10, 10])
    np.testing.assert_allclose(table.y * row["rows"], [4, 4])


def test_boxes_are_turned_as_their_picture():
    box = FindingBox("a", "Mass", 10, 20, 30, 40)
    assert normalize_box(box, 100, 100, "") == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert normalize_box(box, 100, 100, "orientation_mirrored") == pytest.approx((0.6, 0.2, 0.3, 0.4))
    assert normalize_box(box, 100, 100, "a;orientation_rotated") == pytest.approx((0.6, 0.4, 0.3, 0.4))
    assert normalize_box(FindingBox("a", "Mass", 90, 0, 30, 10), 100, 100, "") == pytest.approx((0.9, 0, 0.1, 0.1))
    assert normalize_box(FindingBox("a", "Mass", 200, 0, 30, 10), 100, 100, "") is None


def test_without_boxes_there_is_no_file(tmp_path):
    path = nih(tmp_path / "in", "")
    (path / "BBox_List_2017.csv").unlink()
    cohort = ingest_images(path, tmp_path / "c", "nih", ONE)
    assert not (cohort.path / "boxes.parquet").exists()
    assert "boxes" not in json.loads((cohort.path / "summary.json").read_text())


def test_rows_without_four_numbers_are_skipped_and_findings_renamed(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(
        "name,what,x,y,w,h\na.png,Infiltrate,1,2,3,4\nb.png,Mass,1,2,,4\nc.png,Mass,1,2,inf,4\nd.png,,1,2,3,4\n"
    )
    names = {"files": ["boxes.csv"], "key": ["id", "name"], "label": ["what"], "width": ["w"], "height": ["h"]}
    rule = BoxRule.from_values(names | {"finding": "Other", "rename": {"Infiltrate": "Infiltration"}})
    assert list(read_box_rows(path, rule)) == [
        FindingBox("a", "Infiltration", 1, 2, 3, 4),
        FindingBox("d", "Other", 1, 2, 3, 4),
    ]


def test_a_box_that_touches_the_image_at_its_edge_alone_lies_outside():
    assert normalize_box(FindingBox("a", "Mass", 10, 0, 5, 5), rows=20, cols=10, flags="") is None
    assert normalize_box(FindingBox("a", "Mass", 0, -5, 5, 5), rows=20, cols=10, flags="") is None
    assert normalize_box(FindingBox("a", "Mass", 5, 10, 10, 20), rows=20, cols=10, flags="") == (0.5, 0.5, 0.5, 0.5)


def test_boxes_of_other_data_sets_are_kept_and_those_of_the_same_replaced(tmp_path):
    pseudonyms = Pseudonymizer(b"key")
    ids = {name: pseudonyms.pseudonym("image", f"{name[0]}\0{name}") for name in ("a1", "b1")}
    manifest = pd.DataFrame(
        {"image_id": list(ids.values()), "dataset": ["a", "b"], "rows": 10, "cols": 20, "flags": ""}
    )
    box = FindingBox("a1", "Mass", 5, 5, 5, 5)
    assert write_finding_boxes(tmp_path, [box, FindingBox("a9", "Mass", 5, 5, 5, 5)], "a", pseudonyms, manifest) == {
        "boxes": 1,
        "boxes_unusable": 0,
    }
    other = [FindingBox("b1", "Mass", 0, 0, 5, 5), FindingBox("b1", "Mass", 30, 0, 5, 5)]
    assert write_finding_boxes(tmp_path, other, "b", pseudonyms, manifest) == {"boxes": 2, "boxes_unusable": 1}
    moved = [FindingBox("a1", "Mass", 0, 5, 5, 5)]
    assert write_finding_boxes(tmp_path, moved, "a", pseudonyms, manifest)["boxes"] == 2
    table = pd.read_parquet(tmp_path / "boxes.parquet").set_index("image_id")
    assert table.loc[ids["a1"], ["x", "y", "width", "height"]].tolist() == [0, 0.5, 0.25, 0.5]
    assert write_finding_boxes(tmp_path, [], "a", pseudonyms, manifest)["boxes"] == 1
    assert write_finding_boxes(tmp_path, [], "b", pseudonyms, manifest) == {}
    assert not (tmp_path / "boxes.parquet").exists()
