"""Text in the pixels: a name is found, also by a confined process; markers of side and position are not text."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from medprior.cli import main
from medprior.cohort import Cohort
from medprior.dicom import Policy
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.burned_in_text import TEXT_FLAG, has_text, is_marker
from medprior.phantom import render_phantom
from medprior.side_markers import draw_side_markers

SIDE = 768


def draw_phantom(*texts: str, seed: int = 0, height: int = 20) -> Image.Image:
    """A phantom with side markers, and each text in a corner of its own."""
    image = Image.fromarray(np.rint(render_phantom(seed, size=SIDE).pixels * 255).astype(np.uint8))
    draw_side_markers(image)
    corners = [(12, SIDE - 40, "la"), (SIDE - 12, SIDE - 40, "ra"), (SIDE // 2, 12, "ma")]
    for text, (x, y, anchor) in zip(texts, corners, strict=False):
        ImageDraw.Draw(image).text((x, y), text, 255, ImageFont.load_default(height), anchor=anchor)
    return image


@pytest.mark.parametrize("text", ["R", "L", "AP", "r", "PORTABLE", "Supine AP", "L LAT", "ERECT", "12", "..", ""])
def test_markers(text):
    assert is_marker(text)


@pytest.mark.parametrize("text", ["DOE", "Doe^Jane", "19370519", "L DOE", "ID 4711", "PORTABLE 1999", "王小明医"])
def test_texts_that_are_no_markers(text):
    assert not is_marker(text)


@pytest.mark.parametrize("seed", [0, 1])
def test_names_and_numbers_are_found_and_markers_are_not(seed):
    assert not has_text(np.asarray(draw_phantom(seed=seed), dtype=np.float32) / 255)
    assert not has_text(np.asarray(draw_phantom("PORTABLE", "SUPINE", seed=seed), dtype=np.float32) / 255)
    for text in ("DOE^JANE", "19370519", "MRN 0048151"):
        assert has_text(np.asarray(draw_phantom(text, seed=seed), dtype=np.float32) / 255), text


def test_confined_processes_flag_text_and_say_nothing_of_it(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    draw_phantom(seed=0).save(folder / "markers.png")
    draw_phantom("DOE^JANE", seed=1).save(folder / "name.png")
    arguments = [str(folder), str(tmp_path / "cohort"), "--no-tracking", "--key", str(tmp_path / "key")]
    assert main(["ingest", *arguments, "--check-text"]) == 0
    manifest = Cohort.open(tmp_path / "cohort").manifest
    assert sorted(TEXT_FLAG in str(flags) for flags in manifest["flags"]) == [False, True]
    said = "".join(capsys.readouterr())
    written = b"".join(path.read_bytes() for path in (tmp_path / "cohort").rglob("*") if path.is_file())
    assert "DOE" not in said
    assert b"DOE" not in written
    with BoundedReader(policy=Policy(detect_text=True)) as reader:
        assert TEXT_FLAG in reader.read(folder / "name.png").flags
        assert TEXT_FLAG not in reader.read(folder / "markers.png").flags
    with BoundedReader() as reader:
        assert TEXT_FLAG not in reader.read(folder / "name.png").flags


def test_without_the_detector_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    draw_phantom().save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # as where it is not installed
    arguments = [str(tmp_path / "a.png"), str(tmp_path / "cohort"), "--no-tracking", "--key", str(tmp_path / "key")]
    assert main(["ingest", *arguments, "--check-text"]) == 2
    error = capsys.readouterr().err.strip()
    assert "pip install 'medprior[text]'" in error
    assert "rapidocr" in error
    assert "\n" not in error


DATA = Path(__file__).parents[3] / "shared" / "data"
REAL_SETS = {"wingspan": 30, "genblock": 42, "hannover": 30, "nih": 30}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not DATA.is_dir(), reason="no real radiographs here")
def test_real_radiographs_with_and_without_a_name(capsys):
    """Few are flagged as they are, nearly all with a name; the originals of `genblock` hold texts of publishers."""
    found = 0
    for name, count in REAL_SETS.items():
        paths = sorted(path for path in (DATA / name).rglob("*.png") if "mask" not in str(path.relative_to(DATA)))
        flagged = named = 0
        for path in paths[:count]:
            image = Image.open(path).convert("L")
            flagged += has_text(np.asarray(image, dtype=np.float32) / 255)
            height = max(11, image.height // 40)
            place = (image.width // 10, image.height - 2 * height)
            ImageDraw.Draw(image).text(
                place, "DOE^JANE", 255, ImageFont.load_default(height), stroke_width=1, stroke_fill=0
            )
            named += has_text(np.asarray(image, dtype=np.float32) / 255)
        with capsys.disabled():
            print(f"{name}: {flagged} of {count} flagged as they are, {named} with a name burned in")
        found += named
    assert found >= 0.9 * sum(REAL_SETS.values())
