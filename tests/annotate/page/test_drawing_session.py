"""What a session keeps: opened files, suggestions, the saved annotation."""

import numpy as np
import pytest

from medprior.annotate import Annotation
from medprior.annotate.page import drawing_session
from medprior.annotate.page.contours import ContourDrawing
from medprior.annotate.page.drawing_session import MAX_OPEN_FILES, DrawingSession
from medprior.errors import InputMissing, MedpriorError, Rejected
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


def save(session, key, further=True, **contours):
    """Save a drawing of one contour per structure; by default beside those saved before."""
    drawing = drawing_of(key, **(contours or {"right_lung": RIGHT})) | {"is_further": further}
    return session.save(ContourDrawing.from_values(drawing, "body"))


def open_files(session, count):
    """Keys of some pictures."""
    return [session.add_file(file_of(level)) for level in range(count)]


def list_saved(session):
    """Keys and folders of the examples, as the session and as the disk has them."""
    assert session.list_annotation_folders() == tuple(example.folder for example in session.examples)
    for example in session.examples:
        assert Annotation.load(example.folder).pixel_sha256 == example.annotation.pixel_sha256
    return [(example.key, example.folder.relative_to(session.out).as_posix()) for example in session.examples]


def test_further_drawings_have_folders_of_their_own_and_a_new_first_one_replaces_all(tmp_path):
    session = DrawingSession(tmp_path / "out", None, read_radiograph_bytes)
    one, two, three, four = open_files(session, 4)
    for key in (one, two, three):
        save(session, key)
    assert list_saved(session) == [(one, "."), (two, "example_2"), (three, "example_3")]
    assert session.annotation is session.examples[0].annotation
    # A picture that was drawn on before is replaced in its place, also where it is not said to be a further one.
    for key in (two, one):
        save(session, key, further=False, right_lung=LEFT)
    assert list_saved(session) == [(one, "."), (two, "example_2"), (three, "example_3")]
    assert Annotation.load(tmp_path / "out" / "example_2").masks["right_lung"][40, 60]
    save(session, four, further=False)
    assert list_saved(session) == [(four, ".")]
    assert not list((tmp_path / "out").glob("example_*"))


def test_a_further_drawing_has_the_structures_of_the_first(tmp_path):
    session = DrawingSession(tmp_path / "out", None, read_radiograph_bytes)
    one, two = open_files(session, 2)
    save(session, one)
    with pytest.raises(MedpriorError, match=r"same structures; expected right_lung, found left_lung"):
        save(session, two, left_lung=LEFT)
    assert list_saved(session) == [(one, ".")]
    save(session, one, left_lung=LEFT)  # the only one may change
    save(session, two, left_lung=LEFT)
    assert list_saved(session) == [(one, "."), (two, "example_2")]


def test_no_more_than_so_many_drawings_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing_session, "MAX_EXAMPLES", 2)
    session = DrawingSession(tmp_path / "out", None, read_radiograph_bytes)
    one, two, three = open_files(session, 3)
    save(session, one)
    save(session, two)
    with pytest.raises(MedpriorError, match="there are 2 drawings already"):
        save(session, three)
    save(session, two)  # in its place
    assert list_saved(session) == [(one, "."), (two, "example_2")]


def test_before_the_first_drawing_an_earlier_sessions_counts(tmp_path):
    session = DrawingSession(tmp_path / "out", None, read_radiograph_bytes)
    assert session.list_annotation_folders() == ()
    assert session.annotation is None
    save(session, session.add_file(file_of(0)))
    again = DrawingSession(tmp_path / "out", None, read_radiograph_bytes)
    assert again.list_annotation_folders() == (tmp_path / "out",)
    assert again.get_shape(again.add_file(file_of(0))) == SHAPE
