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
from medprior.ingest.boxes import FindingBox, normalize_box

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
    found = pd.read_parquet(cohort.path / "boxes.parquet")
    assert list(found) == ["image_id", "label", "x", "y", "width", "height"]
    assert set(found.label) == {"Infiltration", "Mass"}
    assert set(found.image_id) <= set(cohort.image_ids)
    first = found[found.label == "Infiltration"].iloc[0]
    np.testing.assert_allclose(first[["x", "y", "width", "height"]].tolist(), [0.25, 0.5, 0.5, 0.25])
    summary = json.loads((cohort.path / "summary.json").read_text())
    assert summary["boxes"] == 2
    assert summary["boxes_unusable"] == 1
    again = ingest_images(tmp_path / "in", tmp_path / "c", "nih", ONE)
    pd.testing.assert_frame_equal(pd.read_parquet(again.path / "boxes.parquet"), found)


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
    found = pd.read_parquet(cohort.path / "boxes.parquet")
    assert found.label.tolist() == ["Lung Opacity"] * 2
    row = cohort.manifest.set_index("image_id").loc[found.image_id[0]]
    np.testing.assert_allclose(found.width * row.cols, [10, 10])
    np.testing.assert_allclose(found.y * row["rows"], [4, 4])


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
