"""What was asked of a folder: the same again, something else, something foreign."""

from __future__ import annotations

import json

import pytest

from medprior.errors import MedpriorError
from medprior.phantom import PhantomSettings, generate_phantom_cohort
from tests.phantom.cohorts import SMALL, fingerprint


def test_finished_folder_is_left_alone_when_asked_the_same(small_cohort):
    before = {path: path.stat().st_mtime_ns for path in small_cohort.rglob("*")}
    generate_phantom_cohort(small_cohort, 12, 3, SMALL, workers=1)
    assert {path: path.stat().st_mtime_ns for path in small_cohort.rglob("*")} == before


@pytest.mark.parametrize(
    ("patients", "seed", "settings", "named"),
    [
        (13, 3, SMALL, "patients 12, not 13"),
        (12, 9, SMALL, "seed 3, not 9"),
        (12, 3, PhantomSettings(size=96), "settings.size 80, not 96"),
    ],
)
def test_finished_folder_with_other_settings_is_refused(small_cohort, patients, seed, settings, named):
    with pytest.raises(MedpriorError, match=named):
        generate_phantom_cohort(small_cohort, patients, seed, settings, workers=1)


def test_unfinished_folder_is_taken_up_again(small_cohort, tmp_path):
    out = tmp_path / "out"
    generate_phantom_cohort(out, 12, 3, SMALL, workers=1)
    request = json.loads((out / "config.json").read_text())
    (out / "config.json").unlink()
    (out / "labels.csv").unlink()
    (out / "started.json").write_text(json.dumps({"seed": 3, **request["settings"]}))
    with pytest.raises(MedpriorError, match="unfinished"):
        generate_phantom_cohort(out, 11, 3, SMALL, workers=1)
    generate_phantom_cohort(out, 12, 3, SMALL, workers=1)
    assert fingerprint(out) == fingerprint(small_cohort)


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(MedpriorError, match="not an empty folder"):
        generate_phantom_cohort(tmp_path, 2, 0, SMALL, workers=1)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MedpriorError, match="cannot be written"):
        generate_phantom_cohort(tmp_path / "file" / "out", 2, 0, SMALL, workers=1)


def test_no_patients_is_refused(tmp_path):
    with pytest.raises(MedpriorError, match="1 or more, found 0"):
        generate_phantom_cohort(tmp_path / "out", 0, 0, SMALL)
