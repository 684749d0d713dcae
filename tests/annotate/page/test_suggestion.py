"""Contours to correct, by the anatomy model that comes with medprior."""

from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from medprior.annotate.page.drawing_session import DrawingSession, SessionPicture
from medprior.annotate.page.suggestion import Suggestion, SuggestionProcess, Suggestions
from medprior.annotate.polygons import fill_polygons, parse_ring
from medprior.cli import main as cli_main
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice
from medprior.phantom import render_phantom
from tests.annotate.page.clients import client_of, read_radiograph_bytes


@pytest.fixture(scope="module")
def suggest():
    with closing(SuggestionProcess()) as process:
        yield process


def test_the_model_finds_lungs_and_heart_of_a_phantom(suggest):
    phantom = render_phantom(5, size=512)
    record = suggest(phantom.pixels).record((512, 512))
    contours = {item["name"]: item["contours"] for item in record["structures"]}
    assert set(contours) == {"left_lung", "right_lung", "heart"}
    for name, parts in contours.items():
        mask = fill_polygons([parse_ring(part, name) for part in parts], (512, 512))
        assert compute_dice(mask, phantom.masks[name]) > 0.6, name


def test_the_masks_are_those_of_predict(suggest, tmp_path):
    pixels = render_phantom(6, size=256).pixels
    Image.fromarray(np.rint(pixels * 65535).astype(np.uint16)).save(tmp_path / "chest.png")
    assert cli_main(["predict", str(tmp_path / "chest.png"), "-o", str(tmp_path / "out")]) == 0
    for name, mask in suggest(pixels).masks.items():
        (path,) = (tmp_path / "out").glob(f"0*_{name}.png")
        np.testing.assert_array_equal(np.asarray(Image.open(path)) > 0, mask)


def test_a_picture_without_contrast_is_refused_in_words(suggest):
    with pytest.raises(MedpriorError, match=r"^suggestion: all pixels have the same value"):
        suggest(np.full((300, 300), 0.5, np.float32))


def test_a_suggestion_is_made_once_and_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr("medprior.annotate.page.suggestion.MAX_KEPT_SUGGESTIONS", 2)
    asked = []

    def suggest(pixels):
        asked.append(float(pixels[0, 0]))
        return Suggestion({"heart": np.ones((4, 4), dtype=bool)})

    suggestions = Suggestions(suggest)
    for key, level in (("a", 0.1), ("b", 0.2), ("a", 0.1), ("c", 0.3), ("a", 0.1)):
        suggestions.suggest(key, SessionPicture(np.full((8, 8), level, np.float32)))
    assert asked == pytest.approx([0.1, 0.2, 0.3, 0.1])


def test_the_page_gets_contours_in_pixels_of_its_image(tmp_path, unmasked_cohort):
    mask = np.zeros((12, 9), dtype=bool)
    mask[3:9, 2:6] = True
    session = DrawingSession(tmp_path / "out", unmasked_cohort, read_radiograph_bytes)
    client = client_of(session, suggestions=Suggestions(lambda _: Suggestion({"heart": mask}, "look closely")))
    assert client.get("/api/start").json()["model"] is True
    answer = client.get("/api/suggestion", params={"key": "i1"}).json()
    rows, cols = session.get_shape("i1")
    (heart,) = answer["structures"]
    low, high = np.min(heart["contours"][0], axis=0), np.max(heart["contours"][0], axis=0)
    want = [cols * 2 / 9, rows / 4, cols * 6 / 9, rows * 3 / 4]
    np.testing.assert_allclose([*low, *high], want, atol=0.6 * rows / 12)
    assert answer["note"] == "look closely"
    assert client.get("/api/suggestion", params={"key": "i9"}).status_code == 422
