"""What a session keeps: opened files, suggestions, the saved annotation."""

import numpy as np
import pytest

from medprior.annotate import Annotation
from medprior.annotate.page.contours import ContourDrawing
from medprior.annotate.page.drawing_session import MAX_OPEN_FILES, DrawingSession
from medprior.errors import InputMissing, Rejected
from tests.annotate.drawings import LEFT, RIGHT, SHAPE
from tests.annotate.page.clients import drawing_of, png, read_radiograph_bytes


def file_of(level):
    """A picture whose first pixel has this grey level."""
    values = np.random.default_rng(0).integers(60, 255, SHAPE).astype(np.uint8)
    values[0, 0] = level
    return png(values)


def test_the_latest_eight_files_stay_open_under_new_keys(tmp_path):
    session = DrawingSession(tmp_path, None, read_radiograph_bytes)
    keys = [session.add_file(file_of(level)) for level in range(MAX_OPEN_FILES + 1)]
    assert keys == [f"file-{number}" for number in range(1, 10)]
    with pytest.raises(InputMissing):
        session.get_picture("file-1")
    second, last = (session.get_picture(key) for key in ("file-2", "file-9"))
    assert second.pixels[0, 0] < last.pixels[0, 0]
    assert (last.image_id, last.radiograph.pixels is last.pixels) == (None, True)
    with pytest.raises(Rejected):
        session.add_file(b"no picture")
    assert session.add_file(file_of(9)) == "file-10"


def test_images_of_the_cohort_are_suggested_and_opened_by_id(tmp_path, unmasked_cohort):
    session = DrawingSession(tmp_path / "out", unmasked_cohort, read_radiograph_bytes)
    suggested = session.suggest_images()
    assert len(suggested) == 3
    assert session.suggest_images() is suggested
    assert session.get_picture("i3").image_id == "i3"
    assert session.get_picture("i3").radiograph is None
    with pytest.raises(InputMissing):
        session.get_picture("i5")
    assert DrawingSession(tmp_path, None, read_radiograph_bytes).suggest_images() == ()


def test_an_annotation_knows_its_image_and_replaces_the_earlier_one(tmp_path, unmasked_cohort):
    session = DrawingSession(tmp_path / "out", unmasked_cohort, read_radiograph_bytes, notes="some notes")
    first = ContourDrawing.from_values(drawing_of("i2", left_lung=np.divide(LEFT, 1.3).tolist()), "body")
    assert session.save(first).image_id == "i2"
    key = session.add_file(file_of(0))
    session.save(ContourDrawing.from_values(drawing_of(key, right_lung=RIGHT), "body"))
    annotation = Annotation.load(tmp_path / "out")
    assert (annotation.image_id, annotation.structures) == (None, ("right_lung",))
    assert (annotation.author, annotation.notes) == ("someone", "some notes")
    assert annotation.pixel_sha256 == session.get_picture(key).radiograph.pixel_sha256
    assert not (tmp_path / "out" / "left_lung.png").exists()
    assert f'"picture": "{key}"' in (tmp_path / "out" / "contours.json").read_text()
