"""Tables of boxes: units, where they lie on the square, and one clear line for each that cannot be used."""

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.errors import InputMissing
from medprior.evaluate.localisation.boxes import BOX_COLUMNS, load_finding_boxes, rasterise_boxes

GOOD = ("i000", "effusion", 0.25, 0.5, 0.5, 0.25)


def written(path, rows, columns=BOX_COLUMNS):
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False)
    return path


def test_units(tmp_path, cohort):
    unit = load_finding_boxes(cohort, written(tmp_path / "u.csv", [GOOD]))
    rows, cols = cohort.manifest.set_index("image_id").loc["i000", ["rows", "cols"]]
    pixels = ("i000", "effusion", 0.25 * cols, 0.5 * rows, 0.5 * cols, 0.25 * rows)
    same = load_finding_boxes(cohort, written(tmp_path / "p.csv", [pixels]), "pixels")
    pd.testing.assert_frame_equal(unit, same)
    assert load_finding_boxes(cohort).empty


def test_a_hair_past_the_edge_is_clipped(tmp_path, cohort):
    boxes = load_finding_boxes(cohort, written(tmp_path / "b.csv", [("i000", "effusion", -0.005, 0, 1, 1)]))
    assert boxes.x[0] == 0
    assert boxes.width[0] == pytest.approx(0.995)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (("nobody", *GOOD[1:]), "1 box.es. of an image that the cohort does not have"),
        (("i000", "hernia", *GOOD[2:]), "of a label that the cohort does not have"),
        (("i000", "effusion", 0.8, 0.5, 0.5, 0.2), "outside the image"),
        (("i000", "effusion", 20, 30, 10, 10), "outside the image.*box_units=pixels"),
        (("i000", "effusion", 0.1, 0.1, 0, 0.2), "without area"),
        (("i000", "effusion", 0.1, "here", 0.1, 0.2), "without four numbers"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, cohort, row, text):
    with pytest.raises(InputMissing, match=text) as caught:
        load_finding_boxes(cohort, written(tmp_path / "b.csv", [GOOD, row]))
    assert "\n" not in str(caught.value)
    assert "row 2" in str(caught.value)


def test_a_missing_table_or_column(tmp_path, cohort):
    with pytest.raises(InputMissing, match="no such table"):
        load_finding_boxes(cohort, tmp_path / "none.csv")
    with pytest.raises(InputMissing, match="column height is missing"):
        load_finding_boxes(cohort, written(tmp_path / "b.csv", [GOOD[:5]], BOX_COLUMNS[:5]))


def test_boxes_that_ingest_stored_are_read(tmp_path, cohort_path):
    import shutil

    shutil.copytree(cohort_path, tmp_path / "c")
    pd.DataFrame([GOOD], columns=list(BOX_COLUMNS)).to_parquet(tmp_path / "c" / "boxes.parquet")
    assert len(load_finding_boxes(Cohort.open(tmp_path / "c"))) == 1


def test_boxes_are_painted_where_they_lie():
    mask = rasterise_boxes(np.array([[0.5, 0.2, 0.2, 0.2]]), 20)
    assert np.array_equal(np.argwhere(mask).min(axis=0), [4, 10])
    assert mask.sum() == 16
    assert rasterise_boxes(np.array([[0.999, 0.999, 0.001, 0.001]]), 20).sum() == 1
    two = rasterise_boxes(np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 0.5, 0.5]]), 8)
    assert two.sum() == 16 + 16 - 4
