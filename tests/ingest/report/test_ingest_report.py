"""The report of an ingest, of a cohort and of made-up tables."""

import re
from html import unescape

import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.ingest.report.contact_sheet import write_contact_sheet
from medprior.ingest.report.ingest_report import (
    build_ingest_tables,
    count_bins,
    count_column,
    count_labels,
    describe_refused_files,
    write_ingest_report,
)
from tests.accessibility import list_violations
from tests.chromium import chromium

REFUSED = [("q1", "empty", "no bytes"), ("q2", "modality", "<b>CT</b>"), ("q3", "modality", "MR"), *(
    (f"r{number}", "truncated", "cut") for number in range(9)
)]  # fmt: skip


def test_refused_files_are_counted_by_code_with_examples():
    table = describe_refused_files(REFUSED)
    assert table.rows == (
        ("truncated", "9", "cut", "r0, r1, r2, r3, r4"),
        ("modality", "2", "<b>CT</b>", "q2, q3"),
        ("empty", "1", "no bytes", "q1"),
    )
    assert describe_refused_files([]).rows == ()


def test_values_and_intervals_are_counted_with_what_is_not_known():
    assert count_column("x", pd.Series(["PA", "AP", "PA", None, ""])).rows == (
        ("PA", "2"),
        ("not known", "2"),
        ("AP", "1"),
    )
    many = count_column("x", pd.Series([*range(15), 0]))
    assert many.rows[0] == ("0", "2")
    assert many.rows[-1] == ("3 other values", "3")
    ages = count_bins("age", pd.Series([0.5, 17.99, 18.0, 90.0, None]), (0, 1, 18, 30, float("inf")))
    assert ages.rows == (("0 to 1", "1"), ("1 to 18", "1"), ("18 to 30", "1"), ("30 and more", "1"), ("not known", "1"))
    assert ages.bars == (1, 1, 1, 1, 1)
    assert count_bins("age", pd.Series([None, None], dtype=float), (0, 1)).rows == ()


def test_labels_are_present_of_known_in_each_split():
    manifest = pd.DataFrame({"effusion": [1.0, 0.0, None, 0.7], "split": ["train", "train", "val", "test"]})
    assert count_labels(manifest).rows == (("effusion", "2 of 3", "1 of 2", "0 of 0", "1 of 1"),)


def test_the_counts_of_a_cohort_add_up(phantom_cohort):
    tables = {table.title: table for table in build_ingest_tables(Cohort.open(phantom_cohort).manifest, REFUSED)}
    for title in ("Splits, by patient", "Views", "Black and white", "Age in years", "Sex"):
        assert sum(int(row[1].replace(",", "")) for row in tables[title].rows) == 48, title
    assert {row[0] for row in tables["Masks"].rows} == {"left_lung", "right_lung", "heart"}
    assert all(row[1] == "48" for row in tables["Masks"].rows)
    assert "Pixel spacing in mm" not in tables  # not known of these phantoms


@pytest.mark.browser
def test_the_page_is_whole_readable_and_takes_no_markup_from_files(phantom_cohort, tmp_path):
    cohort = Cohort.open(phantom_cohort)
    write_contact_sheet(tmp_path / "contact_sheet.png", cohort.manifest, cohort.pixels, lambda _: {})
    path = write_ingest_report(tmp_path / "cohort.html", cohort.manifest, REFUSED)
    text = path.read_text()
    assert "<b>CT" not in text
    assert "<b>CT</b>" in unescape(text)
    assert not re.search(r"https?://", text)
    with chromium(1280, 720) as driver:
        driver.get(path.as_uri())
        assert "48 radiographs of 48 patients; 12 files refused" in driver.find_element("tag name", "body").text
        assert driver.execute_script("return document.images[0].naturalWidth") > 300
        width = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert driver.execute_script(width) <= 0
        assert driver.get_log("browser") == []
        assert list_violations(driver) == []
