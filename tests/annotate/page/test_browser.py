"""The page's scripts as clinicians meet them, with mouse and keys in a real Chromium."""

import math

import numpy as np
import pytest

from medprior.annotate import Annotation
from medprior.cohort import Cohort
from medprior.metrics.overlap import compute_dice
from tests.annotate.drawings import inside
from tests.annotate.page.browser import Page, command, read_address
from tests.chromium import chromium

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def driver():
    with chromium(1280, 720) as browser:
        yield browser


def blob(cx, cy, rx, ry, count):
    """An asymmetric closed shape as shares of the picture."""
    shape = []
    for index in range(count):
        angle = 2 * math.pi * index / count
        radius = 1 + 0.18 * math.cos(angle - 0.7) + 0.08 * math.sin(3 * angle)
        shape.append((cx + radius * rx * math.cos(angle), cy + radius * ry * math.sin(angle)))
    return shape


def test_a_first_drawing_from_end_to_end(tmp_path, driver, served, phantom_cohort):
    from selenium.webdriver.common.keys import Keys

    process, address = served
    page = Page(driver, address)
    page.until(lambda: len(page.find("#suggestions button")) == 12, "no suggestions")
    assert "token" not in driver.current_url
    page.click("#suggestions button")
    shape = Cohort.open(phantom_cohort).pixels("p0000").shape

    at = page.draw("right_lung", blob(0.3, 0.45, 0.12, 0.24, 13))
    assert len(page.vertices()) == 13

    # A vertex is moved, and the move is undone and done again.
    before = page.middle(page.vertices()[4])
    target = (before[0] - 14, before[1] + 9)
    page.mouse(("down", before), ("move", (before[0] - 5, before[1] + 4)), ("up", target))
    moved = page.middle(page.vertices()[4])
    assert math.dist(moved, target) <= 2
    page.keys(Keys.CONTROL, "z")
    assert math.dist(page.middle(page.vertices()[4]), before) <= 1.5
    page.keys(Keys.CONTROL, "y")
    assert math.dist(page.middle(page.vertices()[4]), moved) <= 1.5
    at[4] = target

    # One is taken away with the right button, and comes back.
    page.mouse(("right", page.middle(page.vertices()[9])))
    assert len(page.vertices()) == 12
    page.click("#undo")
    assert len(page.vertices()) == 13

    # A point between two others becomes one of them, and is taken back.
    page.mouse(("click", page.middle(page.find(".marker-icon-middle")[2])))
    assert len(page.vertices()) == 14
    page.click("#undo")
    assert len(page.vertices()) == 13
    right = page.pixels(at, shape)

    # The heart is drawn freehand.
    page.click("[data-name=heart]")
    page.click("#freehand")
    trail = page.screen(blob(0.56, 0.63, 0.14, 0.11, 60))
    page.mouse(("down", trail[0]), *(("move", p) for p in trail[1:]), ("up", trail[0]))
    page.until(lambda: page.contours() == 2, "no freehand contour")
    heart = page.pixels(trail, shape)

    page.click("#save")
    page.until(lambda: "Carried over to 6 other patients" in page.text(), "not carried over")
    loaded = "return [...document.querySelectorAll('#panels img')].every(i => i.naturalWidth > 90)"
    page.until(lambda: driver.execute_script(loaded), "pictures")
    assert len(page.find("#panels img")) == 7
    assert page.log() == []

    page.click("#finish")
    page.until(lambda: "You can close this page" in page.text(), "no end")
    assert process.wait(60) == 0
    annotation = Annotation.load(tmp_path / "out")
    assert annotation.structures == ("heart", "right_lung")
    assert compute_dice(annotation.masks["right_lung"], inside(right, shape)) >= 0.98
    assert compute_dice(annotation.masks["heart"], inside(heart, shape)) >= 0.98


def test_a_drawing_is_not_lost_by_accident(driver, served):
    page = Page(driver, served[1])
    page.click("#suggestions button")
    page.box()
    page.click("#template")
    page.click("#back")
    page.click("#suggestions li:nth-child(2) button")
    page.until(lambda: dismissed(driver), "no question")
    page.click("#suggestions button")
    page.until(lambda: page.contours() == 1, "the drawing is gone")
    page.click("#back")
    page.click("#suggestions li:nth-child(2) button")
    driver.switch_to.alert.accept()
    page.until(lambda: page.find("#board")[0].is_displayed() and page.contours() == 0, "kept")


def dismissed(driver):
    driver.switch_to.alert.dismiss()
    return True


def test_with_keys_alone(driver, served):
    from selenium.webdriver.common.keys import Keys

    page = Page(driver, served[1])
    page.until(lambda: len(page.find("#suggestions button")) == 12, "no suggestions")
    # Tab reaches the file button, then the first suggestion.
    page.keys(Keys.TAB)
    page.keys(Keys.TAB)
    assert driver.switch_to.active_element.text == "1: the most typical"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert driver.execute_script(outline) == "solid"
    page.keys(Keys.ENTER)
    page.box()
    page.keys("2")
    assert page.find("[data-name=left_lung]")[0].get_attribute("aria-checked") == "true"
    page.keys("t")
    assert len(page.vertices()) == 16
    seen = []
    for _ in range(40):
        page.keys(Keys.TAB)
        seen.append(driver.execute_script("return document.activeElement.getAttribute('aria-label')"))
        if seen[-1] and "point 1 of 16" in seen[-1]:
            break
    assert seen[-1].startswith("Left lung, point 1 of 16")
    before = page.middle(page.vertices()[0])
    page.keys(Keys.SHIFT, Keys.ARROW_RIGHT)
    after = page.middle(page.vertices()[0])
    assert after[0] - before[0] >= 10
    assert abs(after[1] - before[1]) <= 1
    page.keys(Keys.DELETE)
    assert len(page.vertices()) == 15
    page.keys(Keys.CONTROL, "z")
    page.keys(Keys.CONTROL, "z")
    assert math.dist(page.middle(page.vertices()[0]), before) <= 1
    page.keys("d")
    assert page.find("#points")[0].get_attribute("aria-pressed") == "true"
    page.keys(Keys.ESCAPE)
    assert page.find("#points")[0].get_attribute("aria-pressed") == "false"
    page.click("[data-name=left_lung]")
    page.keys(Keys.DELETE)
    assert page.contours() == 0
    page.keys(Keys.CONTROL, "z")
    assert page.contours() == 1
    assert page.log() == []


def test_errors_are_told_in_words_and_a_new_structure_is_welcome(driver, served):
    page = Page(driver, served[1])
    page.click("#suggestions button")
    page.draw("left_lung", blob(0.3, 0.45, 0.1, 0.2, 7))
    page.draw("right_lung", blob(0.7, 0.45, 0.1, 0.2, 7))
    page.click("#save")
    page.until(lambda: "swapped" in page.find("#alert")[0].text, "no alert")
    assert "left lung (the patient's left) on the picture's right" in page.find("#alert")[0].text
    page.click("#alert-close")
    page.find("#add-name")[0].send_keys("Left Clavicle\n")
    chosen = page.find("#structures [aria-checked=true]")[0]
    assert "Left clavicle" in chosen.text
    # Escape in the middle of a contour forgets it; Ctrl+Z takes single points back.
    page.click("#points")
    for point in page.screen([(0.6, 0.2), (0.8, 0.2), (0.8, 0.25)]):
        page.mouse(("click", point))
    page.click("#undo")
    page.mouse(*(("click", p) for p in page.screen([(0.8, 0.24), (0.6, 0.24), (0.6, 0.2)])))
    page.until(lambda: page.contours() == 3, "not closed")
    assert len(page.vertices()) == 4


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180), (820, 720)])
def test_everything_fits_the_screen(driver, served, width, height):
    page = Page(driver, served[1])
    page.size(width, height)
    page.click("#suggestions button")
    x, _, across, down = page.box()
    assert min(across, down) > 0.5 * min(width, height)
    inner = "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert driver.execute_script(inner) == [width, height]
    for css in ("#save", "#undo", "#freehand", "#template", "#back", "#invert", "#hint"):
        rect = page.find(css)[0].rect
        assert rect["x"] >= 0
        assert rect["x"] + rect["width"] <= width, css
        assert rect["y"] + rect["height"] <= height, css
    # The patient's right is marked on the picture's left.
    right, left = page.find(".right-side")[0].rect, page.find(".left-side")[0].rect
    assert right["x"] < x + across / 2 < left["x"]


def test_a_file_of_ones_own(tmp_path, driver):
    from PIL import Image

    values = np.random.default_rng(0).integers(60, 255, (300, 200)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "chest.png")
    process = command(tmp_path)
    address = read_address(process)
    try:
        page = Page(driver, address)
        page.until(lambda: "Open a radiograph" in page.text(), "no words")
        page.find("#open")[0].send_keys(str(tmp_path / "chest.png"))
        points = blob(0.5, 0.5, 0.3, 0.3, 9)
        page.box()
        at = page.pixels(page.draw("heart", points), (300, 200))
        page.click("#save")
        page.until(lambda: "Without a cohort" in page.text(), "not saved")
        process.terminate()
        assert process.wait(60) == 0
        annotation = Annotation.load(tmp_path / "out")
        assert annotation.image.shape == (300, 200)
        assert compute_dice(annotation.masks["heart"], inside(at, (300, 200))) >= 0.98
    finally:
        process.kill()
        process.communicate(timeout=300)


MARKUP_SCRIPT = """
const box = document.createElement("div");
box.style.width = box.style.height = "300px";
document.body.append(box);
return import("/static/board.js").then(({ Board }) => {
  const nothing = () => {};
  const titleOf = () => "<b id=planted>lung</b>";
  const markup = { colourOf: () => "#fff", onChange: nothing, onPick: nothing, titleOf };
  new Board(box, markup).open("", 300, 200, { lung: [[[20, 20], [150, 20], [150, 200]]] });
  return [document.querySelectorAll("#planted").length, box.textContent];
});
"""


def test_a_name_that_is_markup_is_shown_as_text(tmp_path, driver):
    process = command(tmp_path)
    try:
        page = Page(driver, read_address(process))
        page.until(lambda: "Open a radiograph" in page.text(), "no words")
        planted, text = driver.execute_script(MARKUP_SCRIPT)
        assert planted == 0
        assert "<b id=planted>lung</b>" in text
    finally:
        process.kill()
        process.communicate(timeout=300)
