from pathlib import Path

import pandas as pd

from medprior.ingest.summary import (
    MAX_LISTED_NAMES,
    format_cohort_counts,
    format_next_command,
    list_counts,
    summarize_cohort,
)


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


def test_the_last_lines_count_splits_labels_and_masks():
    frame = manifest(
        patient_id=["p", "p", "q"],
        split=["train", "train", "val"],
        mass=[0.5, 0.49, None],
        mask_heart=["m", None, None],
    )
    assert format_cohort_counts(frame) == [
        "splits: train 2 of 1 patient(s), val 1 of 1 patient(s)",
        "labels, present of known: mass 1 of 2",
        "masks: heart 1 image(s)",
    ]
    bare = manifest(patient_id=["p", "p", "q"], split=["test"] * 3)
    assert format_cohort_counts(bare) == ["splits: test 3 of 2 patient(s)", "labels: none", "masks: none"]


def test_a_long_list_says_what_it_leaves_out():
    names = [f"label{number:02}" for number in range(MAX_LISTED_NAMES + 2)]
    text = list_counts(dict.fromkeys(names, "1 of 2"))
    assert text.endswith("label19 1 of 2, and 2 more in summary.json")
    assert list_counts(dict.fromkeys(names[:MAX_LISTED_NAMES], "1 of 2")).endswith("label19 1 of 2")


def test_the_next_command_is_one_that_a_shell_takes():
    assert (
        format_next_command(Path("c"), has_masks=True)
        == "next: medprior annotate ANNOTATION --cohort c --image-id auto"
    )
    quoted = "next: medprior annotate ANNOTATION --cohort 'my cohort' --page"
    assert format_next_command(Path("my cohort"), has_masks=False) == quoted
