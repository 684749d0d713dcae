"""The drawing page's server: what it answers, and what it refuses."""

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.annotate import Annotation
from medprior.annotate.page.app import format_prior_command, load_saved_contours
from medprior.annotate.page.drawing_session import DrawingSession
from medprior.annotate.page.transfer_preview import TransferPreview
from medprior.annotate.page.transfer_process import TransferProcess
from medprior.cohort import Cohort
from medprior.metrics.overlap import compute_dice
from tests.annotate.drawings import LEFT, RIGHT, SHAPE, masks
from tests.annotate.page.clients import client_of, drawing_of, read_radiograph_bytes


def test_a_file_is_opened_drawn_and_saved(client, key, tmp_path):
    facts = client.get("/api/picture", params={"key": key}).json()
    assert (facts["rows"], facts["cols"], facts["structures"]) == (*SHAPE, [])
    image = Image.open(io.BytesIO(client.get("/api/picture.png", params={"key": key}).content))
    assert image.size == SHAPE[::-1]
    saved = client.post("/api/save", json=drawing_of(key, left_lung=LEFT, right_lung=RIGHT))
    assert saved.status_code == 200
    assert saved.json()["carrying"] is False
    assert "--annotation" in saved.json()["next"]
    annotation = Annotation.load(tmp_path / "out")
    assert (annotation.author, annotation.structures) == ("someone", ("left_lung", "right_lung"))
    for name, mask in masks().items():
        assert compute_dice(annotation.masks[name], mask) > 0.99
    assert Image.open(io.BytesIO(client.get("/api/preview.png").content)).width > 50
    # A structure that is taken away again leaves no file behind.
    client.post("/api/save", json=drawing_of(key, left_lung=LEFT))
    assert Annotation.load(tmp_path / "out").structures == ("left_lung",)
    assert not (tmp_path / "out" / "right_lung.png").exists()


@pytest.mark.parametrize(
    ("contours", "words"),
    [
        ({}, "no mask"),
        ({"left_lung": RIGHT, "right_lung": LEFT}, "swapped"),
        ({"heart": [(500, 500), (600, 500), (600, 600)]}, "empty"),
        ({"heart": [(1, 1), (2, 2)]}, "closed contour"),
        ({"???": LEFT}, "not a structure's name"),
        ({"Heart": LEFT, "heart": RIGHT}, "one name"),
    ],
)
def test_what_cannot_be_right_is_refused_in_words(client, key, contours, words):
    answer = client.post("/api/save", json=drawing_of(key, **contours))
    assert answer.status_code == 422
    assert words in answer.json()["message"]
    assert client.get("/api/preview.png").status_code == 404


def test_what_does_not_fit_is_refused(client, key):
    assert client.post("/api/open", content=b"no picture" * 9).json()["code"] == "refused"
    assert client.post("/api/open", content=b"\0" * (2**20 + 1)).status_code == 413
    assert client.post("/api/save", json={"picture": key}).status_code == 422
    many = drawing_of(key, heart=[(0, 0)] * 5001)
    assert client.post("/api/save", json=many).status_code == 422
    assert client.post("/api/save", json=drawing_of("../x", heart=LEFT)).status_code == 422
    assert client.get("/api/picture", params={"key": "file-9"}).status_code == 422


def test_the_door_is_guarded(client, key):
    bare = {"Authorization": ""}
    assert client.get("/", headers=bare).status_code == 401
    assert client.get("/api/start", headers=bare).status_code == 401
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    foreign = {"Origin": "http://evil.example"}
    assert client.post("/api/save", json=drawing_of(key), headers=foreign).status_code == 403
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


def test_a_drawing_is_carried_over_to_other_patients(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    transfer = TransferProcess(phantom_cohort)
    preview = TransferPreview(cohort, transfer)
    session = DrawingSession(tmp_path / "out", cohort, read_radiograph_bytes)
    client = client_of(session, preview)
    start = client.get("/api/start").json()
    assert len(start["suggestions"]) == 12
    first = start["suggestions"][0]
    box = [(20, 30), (50, 30), (50, 90), (20, 90)]
    saved = client.post("/api/save", json=drawing_of(first, right_lung=box))
    assert saved.json()["carrying"] is True
    preview._pool.shutdown(wait=True)
    transfer.close()
    state = client.get("/api/carried").json()
    assert state["state"] == "done", state["message"]
    assert len(state["doubtful"]) == 6
    for number in range(6):
        panel = client.get("/api/carried.png", params={"number": number})
        with Image.open(io.BytesIO(panel.content)) as image:
            colours = np.asarray(image.convert("RGB")).astype(int)
        # Contours are the only coloured pixels.
        assert (np.ptp(colours, axis=2) > 60).sum() > 50
    assert client.get("/api/carried.png", params={"number": 6}).status_code == 404
    # What was drawn is there again when the picture is opened anew.
    again = client.get("/api/picture", params={"key": first}).json()["structures"]
    assert again == [{"name": "right_lung", "contours": [[list(map(float, p)) for p in box]]}]
    other = client.get("/api/picture", params={"key": start["suggestions"][1]}).json()
    assert other["structures"] == []


def test_kept_contours_that_are_damaged_are_not_shown(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    client = client_of(DrawingSession(tmp_path, cohort, read_radiograph_bytes))
    for text in ("{", json.dumps({"picture": "p0001", "structures": 3}), "[]"):
        (tmp_path / "contours.json").write_text(text)
        assert client.get("/api/picture", params={"key": "p0001"}).json()["structures"] == []


def test_without_a_cohort_there_is_nothing_to_suggest_or_carry_over(client):
    start = client.get("/api/start").json()
    assert (start["first"], start["cohort"], start["suggestions"]) == ("", False, [])
    assert start["structures"] == ["right_lung", "left_lung", "heart"]
    assert client.get("/api/carried").status_code == 404


def test_panels_are_counted_from_zero(tmp_path, unmasked_cohort):
    client = client_of(
        DrawingSession(tmp_path / "out", unmasked_cohort, read_radiograph_bytes),
        TransferPreview(unmasked_cohort, lambda *_: None),
    )
    assert client.get("/api/carried").json() == {
        "state": "none", "message": "", "count": 0, "doubtful": [], "keys": [], "matches": [], "annotated": [],
        "next": None,
    }  # fmt: skip
    for number in (-1, 0):
        refused = client.get("/api/carried.png", params={"number": number})
        assert (refused.status_code, refused.json()["code"]) == (404, "no_panel")


def test_contours_come_back_for_their_own_image_of_the_cohort_only(tmp_path, unmasked_cohort):
    session = DrawingSession(tmp_path / "out", unmasked_cohort, read_radiograph_bytes)
    (tmp_path / "out").mkdir()
    for key, other in (("i1", "i2"), ("file-1", "i1")):
        record = json.dumps(drawing_of(key, heart=[(1, 2), (3, 4), (5, 7)]))
        (tmp_path / "out" / "contours.json").write_text(record)
        assert load_saved_contours(session, other) == []
        expected = [{"name": "heart", "contours": [[[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]]}]
        assert load_saved_contours(session, key) == (expected if key == "i1" else [])


def test_the_next_command_can_be_pasted_into_any_folder(tmp_path, unmasked_cohort, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = Path("my drawings") / "first one"
    for cohort, name in ((None, "COHORT"), (unmasked_cohort, str(unmasked_cohort.path))):
        words = shlex.split(format_prior_command(DrawingSession(out, cohort, read_radiograph_bytes)))
        drawn = tmp_path / out
        assert words == ["medprior", "prior", name, f"{drawn}_prior", "--annotation", str(drawn)]
