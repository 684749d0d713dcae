"""Rows about images of several data sets in one table."""

import pandas as pd

from medprior.cohort.image_rows import read_rows_of_others, write_joined_rows

COLUMNS = ("image_id", "value")
MANIFEST = pd.DataFrame({"image_id": ["a", "b", "c"], "dataset": ["one", "two", "two"]})


def test_rows_of_other_data_sets_are_kept_and_own_ones_replaced(tmp_path):
    path = tmp_path / "rows.parquet"
    nothing = read_rows_of_others(path, COLUMNS, MANIFEST, "one")
    assert (len(nothing), list(nothing.columns)) == (0, list(COLUMNS))
    first = pd.DataFrame([("a", 1), ("b", 2), ("gone", 3)], columns=list(COLUMNS))
    assert write_joined_rows(path, nothing, first, ("value",)) == 3
    others = read_rows_of_others(path, COLUMNS, MANIFEST, "two")
    assert others.image_id.tolist() == ["a"], "not of this data set, not of an image that left the cohort"
    assert write_joined_rows(path, others, pd.DataFrame([("c", 5)], columns=list(COLUMNS)), ("value",)) == 2
    stored = pd.read_parquet(path)
    assert stored.image_id.tolist() == ["a", "c"]
    assert stored.value.tolist() == [1.0, 5.0]
    assert stored.value.dtype == "float64"


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    path = tmp_path / "rows.parquet"
    empty = pd.DataFrame(columns=list(COLUMNS))
    assert write_joined_rows(path, empty, empty, ("value",)) == 0
    assert list(pd.read_parquet(path).columns) == list(COLUMNS)
