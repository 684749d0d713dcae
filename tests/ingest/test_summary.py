import pandas as pd

from medprior.ingest.summary import summarize_cohort


def manifest(**columns) -> pd.DataFrame:
    """Three rows; `columns` replace the defaults."""
    values = {
        "dataset": ["b", "a", "b"], "view": ["PA"] * 3, "sex": ["F", None, "M"], "age": [20.0, None, 50.0],
        "spacing_kind": ["none"] * 3, "polarity_inverted": [True, False, True], "flags": ["x|y", "", "y"],
    }  # fmt: skip
    return pd.DataFrame(values | columns)


def test_files_are_counted_by_code():
    codes = ["", "empty", "", "decode_failed", "empty"]
    summary = summarize_cohort(manifest(), [{"code": code} for code in codes])
    assert summary["files"] == {"read": 5, "accepted": 2}
    assert list(summary["refused"].items()) == [("decode_failed", 1), ("empty", 2)]
    assert summarize_cohort(manifest(), [])["files"] == {"read": 0, "accepted": 0}


def test_metadata_is_counted_by_value():
    summary = summarize_cohort(manifest(), [])
    assert list(summary["datasets"].items()) == [("a", 1), ("b", 2)]
    assert summary["sexes"] == {"F": 1, "M": 1, "unknown": 1}
    assert summary["flags"] == {"x": 1, "y": 2}
    assert summary["polarity_inverted"] == 2
    assert summary["age_years"] == {"min": 20, "median": 35, "max": 50}
    without = summarize_cohort(manifest(age=[None, None, None]), [])
    assert without["age_years"] == {"min": None, "median": None, "max": None}


def test_a_label_of_one_half_is_present_and_missing_ones_are_unknown():
    frame = manifest(mass=[0.5, 0.49, None], mask_heart=["m", None, None])
    summary = summarize_cohort(frame, [])
    assert summary["labels"] == {"mass": {"present": 1, "absent": 1, "unknown": 1}}
    assert summary["masks"] == {"heart": 1}
