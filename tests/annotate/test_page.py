"""The drawing page's server: what it answers, and what it refuses."""

import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydantic import SecretStr

import medprior.annotate.page
from medprior.annotate import Annotation
from medprior.annotate.page.app import create_drawing_app
from medprior.annotate.page.drawing_session import DrawingSession
from medprior.annotate.page.transfer_preview import TransferPreview, format_doubt
from medprior.annotate.polygons import fill_polygons
from medprior.annotate.typicality import select_medoids, select_varied_images
from medprior.cohort import Cohort
from medprior.dicom import read_image
from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings
from medprior.priors.build import build_prior
from tests.annotate.drawings import LEFT, POLYGONS, RIGHT, SHAPE, dice, inside, masks

WEB = Path(medprior.annotate.page.__file__).parent / "web"
TOKEN = "a token of enough characters"


def read(data):
    return read_image(io.BytesIO(data))


def png(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def client_of(desk, carrier=None):
    access = AccessSettings(token=SecretStr(TOKEN), max_bytes=2**20)
    client = TestClient(create_drawing_app(desk, carrier, access), base_url="http://127.0.0.1:8080")
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    return client


@pytest.fixture
def client(tmp_path):
    return client_of(DrawingSession(tmp_path / "out", None, read))


@pytest.fixture
def key(client):
    picture = np.random.default_rng(0).integers(60, 255, SHAPE).astype(np.uint8)
    return client.post("/api/open", content=png(picture)).json()["key"]


def drawn(key, **contours):
    parts = [{"name": name, "contours": [points]} for name, points in contours.items()]
    return {"picture": key, "structures": parts, "author": "someone"}


def test_polygons_are_filled_as_their_slow_twin_says():
    for points in (*POLYGONS.values(), [(3.25, 4.5), (40.75, 9.1), (20.2, 70.9)]):
        mask = fill_polygons([np.array(points)], SHAPE)
        assert dice(mask, inside(points)) > 0.985
        x, y = np.array(points).T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert abs(mask.sum() - area) < 0.01 * area
    large = np.array(LEFT) * 20
    area = 400 * inside(LEFT).sum()
    assert abs(fill_polygons([large], (2400, 1800)).sum() - area) < 0.01 * area
    box = np.array([(2.0, 3.0), (7.0, 3.0), (7.0, 5.0), (2.0, 5.0)])
    assert np.argwhere(fill_polygons([box], SHAPE)).tolist() == [[y, x] for y in (3, 4) for x in range(2, 7)]
    assert fill_polygons([box - 4.0], SHAPE).sum() == 3
    assert not fill_polygons([box + 500.0], SHAPE).any()


def test_a_file_is_opened_drawn_and_saved(client, key, tmp_path):
    facts = client.get("/api/picture", params={"key": key}).json()
    assert (facts["rows"], facts["cols"], facts["structures"]) == (*SHAPE, [])
    image = Image.open(io.BytesIO(client.get("/api/picture.png", params={"key": key}).content))
    assert image.size == SHAPE[::-1]
    saved = client.post("/api/save", json=drawn(key, left_lung=LEFT, right_lung=RIGHT))
    assert saved.status_code == 200
    assert saved.json()["carrying"] is False
    assert "--annotation" in saved.json()["next"]
    made = Annotation.load(tmp_path / "out")
    assert (made.author, made.structures) == ("someone", ("left_lung", "right_lung"))
    for name, mask in masks().items():
        assert dice(made.masks[name], mask) > 0.99
    assert Image.open(io.BytesIO(client.get("/api/preview.png").content)).width > 50
    # A structure that is taken away again leaves no file behind.
    client.post("/api/save", json=drawn(key, left_lung=LEFT))
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
    answer = client.post("/api/save", json=drawn(key, **contours))
    assert answer.status_code == 422
    assert words in answer.json()["message"]
    assert client.get("/api/preview.png").status_code == 404


def test_what_does_not_fit_is_refused(client, key):
    assert client.post("/api/open", content=b"no picture" * 9).json()["code"] == "refused"
    assert client.post("/api/open", content=b"\0" * (2**20 + 1)).status_code == 413
    assert client.post("/api/save", json={"picture": key}).status_code == 422
    many = drawn(key, heart=[(0, 0)] * 5001)
    assert client.post("/api/save", json=many).status_code == 422
    assert client.post("/api/save", json=drawn("../x", heart=LEFT)).status_code == 422
    assert client.get("/api/picture", params={"key": "file-9"}).status_code == 422


def test_the_door_is_guarded(client, key):
    bare = {"Authorization": ""}
    assert client.get("/", headers=bare).status_code == 401
    assert client.get("/api/start", headers=bare).status_code == 401
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    foreign = {"Origin": "http://evil.example"}
    assert client.post("/api/save", json=drawn(key), headers=foreign).status_code == 403
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


def test_every_file_of_the_page_is_served_and_asks_no_other_machine(client):
    text = client.get("/").text
    names = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert len(names) >= 7
    for name in names:
        assert client.get(name).status_code == 200, name
    assert not re.search(r"<script(?! (type=\"module\" )?src)|style=|onclick", text)
    for path in [*WEB.glob("*.js"), *WEB.glob("*.css"), *WEB.glob("*.html")]:
        assert not re.search(r"https?://|//cdn", path.read_text()), path


def test_vendored_files_are_those_of_the_packages():
    vendor = WEB / "vendor"
    table = (vendor / "VENDOR.md").read_text()
    rows = re.findall(r"^\| `([\w./-]+)` \| `([0-9a-f]{64})` \|$", table, re.MULTILINE)
    files = {str(p.relative_to(vendor)) for p in vendor.rglob("*") if p.is_file()}
    assert {name for name, _ in rows} == files - {"VENDOR.md"}
    for name, digest in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    assert "BSD 2-Clause" in (vendor / "leaflet" / "LICENSE.txt").read_text()
    assert "MIT" in (vendor / "leaflet_geoman" / "LICENSE.txt").read_text()


def by_call(cohort):
    def transfer(annotation, image_ids, out):
        build_prior(cohort, out, annotation, "registered", workers=1, only=image_ids)

    return transfer


def test_a_drawing_is_carried_over_to_other_patients(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    carrier = TransferPreview(cohort, by_call(cohort))
    desk = DrawingSession(tmp_path / "out", cohort, read)
    client = client_of(desk, carrier)
    start = client.get("/api/start").json()
    assert len(start["suggestions"]) == 12
    first = start["suggestions"][0]
    box = [(20, 30), (50, 30), (50, 90), (20, 90)]
    saved = client.post("/api/save", json=drawn(first, right_lung=box))
    assert saved.json()["carrying"] is True
    carrier._pool.shutdown(wait=True)
    found = client.get("/api/carried").json()
    assert found["state"] == "done", found["message"]
    assert len(found["doubtful"]) == 6
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


def test_a_failure_to_carry_over_is_told(tmp_path, phantom_cohort):
    def refuse(annotation, image_ids, out):
        raise MedpriorError("the disk is full")

    def break_down(annotation, image_ids, out):
        raise RuntimeError("/a/secret/path")

    cohort = Cohort.open(phantom_cohort)
    made = Annotation(cohort.pixels("p0001"), {"heart": inside(LEFT, (128, 128))}, "p0001")
    for transfer, words in ((refuse, "the disk is full"), (break_down, "RuntimeError")):
        carrier = TransferPreview(cohort, transfer)
        carrier.start(made, tmp_path)
        carrier._pool.shutdown(wait=True)
        assert carrier.state.state == "failed"
        assert words in carrier.state.message
        assert "secret" not in carrier.state.message


def test_suggestions_differ_and_others_are_other_patients(phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    found = select_medoids(cohort, 12)
    assert len(set(found)) == 12
    train = set(cohort.split("train").image_ids)
    assert set(found) <= train
    others = select_varied_images(cohort, 6, frozenset(found[:1]))
    assert len(set(others)) == 6
    assert found[0] not in others
    assert set(others) <= train


def test_doubts_are_words():
    assert format_doubt("", 1.0) == ""
    assert format_doubt("", 0.5) == "the two pictures hardly match"
    assert format_doubt("registration, lung_ratio", 0.0).endswith("the lungs differ unusually in size")


def test_kept_contours_that_are_damaged_are_not_shown(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    client = client_of(DrawingSession(tmp_path, cohort, read))
    for text in ("{", json.dumps({"picture": "p0001", "structures": 3}), "[]"):
        (tmp_path / "contours.json").write_text(text)
        assert client.get("/api/picture", params={"key": "p0001"}).json()["structures"] == []
