import numpy as np
import pandas as pd
import pytest

from medprior.cohort import columns
from medprior.errors import ConfigError
from tests.cohort.images import write_cohort


def test_manifest_columns_are_the_contract(tmp_path):
    columns = list(write_cohort(tmp_path / "c").manifest.columns)
    assert columns == [
        "image_id", "patient_id", "study_id", "dataset", "view", "sex", "age", "rows", "cols",
        "spacing_mm", "spacing_kind", "polarity_inverted", "flags", "pixel_sha256", "split",
        "a", "b", "mask_heart",
    ]  # fmt: skip


def test_a_manifest_made_in_parts_is_the_same(tmp_path, monkeypatch):
    records = [
        {
            "image_id": f"i{i}", "patient_id": "p", "study_id": "s", "dataset": "d", "view": "PA",
            "sex": None, "age": None, "rows": 1, "cols": 1, "spacing_mm": None,
            "spacing_kind": "none", "polarity_inverted": False, "flags": "", "pixel_sha256": "h",
            "labels": {"late": 1.0} if i > 6 else {"first": None},
            "masks": {"heart": "m"} if i == 8 else {},
        }
        for i in range(10)
    ]  # fmt: skip
    whole = columns.build_manifest(records)
    monkeypatch.setattr(columns, "CHUNK_ROWS", 3)
    parts = columns.build_manifest(records)
    pd.testing.assert_frame_equal(parts, whole)
    assert list(whole.columns)[-3:] == ["first", "late", "mask_heart"]
    assert whole["mask_heart"].isna().sum() == 9
    assert whole.late.isna().sum() == 7


def test_labels_are_what_is_neither_metadata_nor_a_mask():
    names = ["age", "zoster", "mask_heart", "mass", "split", "mask"]
    assert columns.select_label_columns(names) == ("zoster", "mass", "mask")


def test_reserved_label_names_are_listed_together():
    columns.check_label_names(["mass", "mask"])
    with pytest.raises(ConfigError, match=r"\['age', 'mask_x'\] are reserved"):
        columns.check_label_names(["mask_x", "mass", "age"])


def test_no_record_gives_an_empty_manifest_of_the_contract():
    frame = columns.build_manifest([])
    assert list(frame.columns) == list(columns.METADATA_COLUMNS)
    assert len(frame) == 0
    assert frame.dtypes["rows"] == np.int64
    assert frame.dtypes["polarity_inverted"] == np.bool_


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (float("nan"), None), (float("-inf"), None), (0, 0.0), (2.5, 2.5)]
)
def test_only_finite_numbers_reach_json(value, expected):
    assert columns.finite_or_none(value) == expected
