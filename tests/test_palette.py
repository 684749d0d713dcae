"""One palette of structures: every picture and page takes its colours from `medprior.palette`."""

import json
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from fastapi.testclient import TestClient

import medprior
from medprior.annotate.page.app import PAGE_WEB_FOLDER, create_drawing_app
from medprior.annotate.page.drawing_session import DrawingSession
from medprior.annotate.page.rendering import overlay_map_contours
from medprior.deploy.inference.overlays import render_mask_contours
from medprior.deploy.service.app import SERVICE_WEB_FOLDER
from medprior.ingest.report.contact_sheet import render_thumbnail
from medprior.pages.access import AccessSettings
from medprior.pages.app import PAGES_FOLDER, create_page_app
from medprior.palette import (
    CSS_COLOURS,
    FURTHER_COLOURS,
    ORANGE,
    PINK,
    SKY_BLUE,
    STRUCTURE_COLOURS,
    assign_colours,
    structure_colour,
    structure_rgb,
)
from medprior.priors.prior_figure import plot_prior_panel

ROOT = Path(medprior.__file__).parent
NAMES = ("heart", "left_lung", "right_lung")
VALUES = sorted({*STRUCTURE_COLOURS.values(), *FURTHER_COLOURS})
WEB_FILES = [
    path
    for folder in (PAGE_WEB_FOLDER, SERVICE_WEB_FOLDER, PAGES_FOLDER / "web")
    for path in sorted(folder.rglob("*"))
    if path.suffix in {".js", ".css", ".html"} and "vendor" not in path.parts
]


def discs() -> dict[str, np.ndarray]:
    rows, columns = np.mgrid[:120, :120]
    places = zip(NAMES, ((80, 60), (50, 90), (50, 30)), strict=True)
    return {name: np.hypot(rows - y, columns - x) < 14 for name, (y, x) in places}


def list_rgb(image) -> set[tuple[int, ...]]:
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return {tuple(pixel) for pixel in np.unique(pixels[np.ptp(pixels, axis=1) > 0], axis=0).tolist()}


def test_lungs_are_orange_and_blue_and_the_heart_is_pink():
    assert [structure_colour(name, 0) for name in NAMES] == [PINK, SKY_BLUE, ORANGE]
    assert structure_rgb("right_lung", 0) == (230, 159, 0)
    assert not set(FURTHER_COLOURS) & set(STRUCTURE_COLOURS.values())
    assert assign_colours(["spine", "heart", "aorta"]) == {
        "heart": PINK, "aorta": FURTHER_COLOURS[0], "spine": FURTHER_COLOURS[1],
    }  # fmt: skip


def test_pictures_use_the_palette():
    grey, masks = np.full((120, 120), 0.5, np.float32), discs()
    colours = {structure_rgb(name, 0) for name in NAMES}
    assert list_rgb(render_mask_contours(grey, masks, None)) == colours
    assert list_rgb(render_thumbnail(grey, masks)) == colours
    maps = {name: mask.astype(np.float32) for name, mask in masks.items()}
    assert list_rgb(overlay_map_contours(grey, maps, 120)) == colours


def test_prior_figure_uses_the_palette():
    axes, maps = Mock(), np.stack([mask.astype(np.float32) for mask in discs().values()])
    plot_prior_panel(axes, "a title", maps[0], maps, NAMES)
    assert [call.kwargs["colors"] for call in axes.contour.call_args_list] == [PINK, SKY_BLUE, ORANGE]


@pytest.mark.parametrize("web", [PAGE_WEB_FOLDER, SERVICE_WEB_FOLDER], ids=["annotate", "service"])
def test_both_pages_load_the_palette_from_the_server(web):
    client = TestClient(create_page_app("page", AccessSettings(), web), base_url="http://127.0.0.1:8080")
    assert '<link rel="stylesheet" href="/shared/palette.css">' in client.get("/").text
    sheet = client.get("/shared/palette.css")
    assert sheet.headers["content-type"].startswith("text/css")
    assert dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", sheet.text)) == CSS_COLOURS
    script = client.get("/shared/palette.js")
    assert script.headers["content-type"].startswith("text/javascript")
    exported = dict(re.findall(r"export const (\w+) = (.+);", script.text))
    assert json.loads(exported["STRUCTURE_COLOURS"]) == STRUCTURE_COLOURS
    assert json.loads(exported["FURTHER_COLOURS"]) == list(FURTHER_COLOURS)


def test_scripts_take_structure_colours_from_the_server(tmp_path):
    desk = DrawingSession(tmp_path, None, Mock())
    client = TestClient(create_drawing_app(desk, None, AccessSettings()), base_url="http://127.0.0.1:8080")
    start = client.get("/api/start").json()
    assert (start["colours"], start["further"]) == (STRUCTURE_COLOURS, list(FURTHER_COLOURS))
    assert "state.colours = start.colours" in (PAGE_WEB_FOLDER / "page.js").read_text()
    imported = 'import { FURTHER_COLOURS, STRUCTURE_COLOURS } from "/shared/palette.js";'
    assert imported in (SERVICE_WEB_FOLDER / "page.js").read_text()


@pytest.mark.parametrize("path", WEB_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_web_files_hold_no_colour_of_a_structure(path):
    text = path.read_text().lower()
    assert not [value for value in VALUES if value[1:] in text]
    if path.suffix == ".js":
        allowed = {"#000", "#fff", "#ffffff", "#343a45"}
        assert set(re.findall(r'"(#[0-9a-f]{3,6})"', text)) <= allowed
        assert not re.search(r"\[\s*\d{1,3}, \d{1,3}, \d{1,3}\s*\]", text.replace("[1, 3, 5]", ""))


def test_no_module_repeats_a_value_of_the_palette():
    texts = {path: path.read_text().lower() for path in ROOT.rglob("*.py") if path.name != "palette.py"}
    assert not [path for path, text in texts.items() if any(value in text for value in STRUCTURE_COLOURS.values())]


def test_further_colours_begin_again_after_the_last():
    assert [structure_colour("rib", order) for order in (0, 3, 4, 5)] == [*FURTHER_COLOURS[::3], *FURTHER_COLOURS[:2]]
    assert structure_rgb("rib", 2) == (213, 94, 0)
    assert list(assign_colours(["b", "heart", "a", "c", "d", "e"]).items())[-1] == ("e", FURTHER_COLOURS[0])
