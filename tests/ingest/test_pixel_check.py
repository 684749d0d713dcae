"""`medprior ingest --check-pixels`: wrong pictures get a flag once, also where a run is killed in between."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.cohort import Cohort
from medprior.ingest import IngestSettings, ingest_images, pixel_check
from medprior.resources import find_resource_folder
from tests.ingest.radiograph_files import read_files
from tests.ingest.test_killing import command, ended

CHECKING = IngestSettings(workers=1, store_size=256, check_pixels=True)
TURNS = {"upright": lambda p: p, "inverted": lambda p: 255 - p, "down": lambda p: p[::-1, ::-1]}
FLAGS = {"upright": "", "inverted": "pixels_inverted", "down": "pixels_rotated"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A real radiograph as it is, inverted and upside down."""
    folder = tmp_path_factory.mktemp("pictures") / "in"
    folder.mkdir()
    example = find_resource_folder("bundles") / "chest_xray_segmentation" / "docs" / "example.png"
    pixels = np.asarray(Image.open(example).convert("L"))
    for name, turn in TURNS.items():
        Image.fromarray(turn(pixels)).save(folder / f"{name}.png")
    return folder


def read_flags(cohort: Path) -> list[str]:
    """Flags of a cohort's images from their pixels, sorted."""
    return sorted(
        " ".join(flag for flag in flags.split("|") if flag.startswith("pixels_"))
        for flags in Cohort.open(cohort).manifest["flags"]
    )


def test_wrong_pictures_are_flagged_once(folder, tmp_path, monkeypatch):
    cohort = tmp_path / "cohort"
    ingest_images(folder, cohort, settings=IngestSettings(workers=1, store_size=256), key=tmp_path / "key")
    assert read_flags(cohort) == ["", "", ""]
    ingest_images(folder, cohort, settings=CHECKING, key=tmp_path / "key")
    assert read_flags(cohort) == sorted(FLAGS.values())
    before = read_files(cohort)
    monkeypatch.setattr(pixel_check, "find_pixel_flags", pytest.fail)  # nothing is checked again
    ingest_images(folder, cohort, settings=CHECKING, key=tmp_path / "key")
    assert read_files(cohort) == before
    assert not list((tmp_path / "cohort.private").glob("checking-*"))


def test_a_run_that_is_killed_while_it_checks_goes_on(folder, tmp_path):
    more = ("--check-pixels", "--key", str(tmp_path / "key"))
    ended(command(folder, tmp_path / "whole", more=more))
    process = command(folder, tmp_path / "cohort", more=more)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("cohort.private/checking-*/pictures/*.png")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    ended(command(folder, tmp_path / "cohort", more=more))
    assert read_files(tmp_path / "cohort") == read_files(tmp_path / "whole")
    assert not list((tmp_path / "cohort.private").glob("checking-*"))
