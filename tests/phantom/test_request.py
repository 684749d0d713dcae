"""What was asked of a folder: the same again, something else, something foreign."""

from __future__ import annotations

import json

import pytest

from medprior.errors import ConfigError, MedpriorError
from medprior.phantom import PhantomSettings, generate_phantom_cohort
from medprior.phantom.request import (
    STARTED_FILE,
    check_finished_or_mark_started,
    check_generation_arguments,
    clear_started_mark,
    list_setting_changes,
)
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


def test_changes_are_named_down_to_the_leaves_whichever_side_has_them():
    first = {"a": 1, "same": 2, "deep": {"x": 1, "y": {"z": 0}}, "kind": {"x": 1}}
    second = {"a": 2, "same": 2, "deep": {"x": 1, "y": {"z": 5}}, "kind": 3, "new": 4}
    assert list_setting_changes(first, second) == [
        "a 1, not 2", "deep.y.z 0, not 5", "kind {'x': 1}, not 3", "new None, not 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("patients", "seed", "workers", "words"),
    [
        (1, 0, 1, None),
        (1, 0, None, None),
        (0, 0, 1, "--patients: no usable number of patients; expected 1 or more, found 0"),
        (1, -1, 1, "--seed: no usable seed; expected 0 or more, found -1"),
        (1, 0, 0, "--workers: no usable number of workers; expected 1 or more, found 0"),
    ],
)
def test_numbers_have_a_least_value(patients, seed, workers, words):
    if words is None:
        check_generation_arguments(patients, seed, workers)
    else:
        with pytest.raises(ConfigError) as caught:
            check_generation_arguments(patients, seed, workers)
        assert str(caught.value) == words


def test_a_new_folder_is_marked_as_begun_and_can_be_taken_up(tmp_path):
    out, asked = tmp_path / "new", {"patients": 2}
    assert not check_finished_or_mark_started(out, asked, 7)
    assert json.loads((out / STARTED_FILE).read_text()) == {"seed": 7, "patients": 2}
    (out / "half.dcm").write_text("")
    assert not check_finished_or_mark_started(out, asked, 7)
    with pytest.raises(ConfigError, match="unfinished"):
        check_finished_or_mark_started(out, asked, 8)
    clear_started_mark(out)
    with pytest.raises(MedpriorError, match="not an empty folder"):
        check_finished_or_mark_started(out, asked, 7)
