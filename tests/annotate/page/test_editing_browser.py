"""Suggested contours, the tools that edit them and a second example, with mouse and keys in a real Chromium."""

import shlex

import numpy as np
import pytest

from medprior.annotate import Annotation
from medprior.cohort import Cohort
from medprior.metrics.overlap import compute_dice
from tests.accessibility import list_violations
from tests.annotate.page.browser import Page
from tests.chromium import chromium

pytestmark = pytest.mark.browser
PATHS = "return [...document.querySelectorAll(arguments[0])].map((path) => path.getBoundingClientRect().toJSON())"


@pytest.fixture(scope="module")
def driver():
    with chromium(1280, 720) as browser:
        yield browser


@pytest.fixture
def page(driver, served):
    page = Page(driver, served[1])
    page.click("#suggestions button")
    page.box()
    return page


def boxes(page, structure):
    """Bounding boxes of a structure's contours on the screen, as x, y, width, height."""
    found = page.driver.execute_script(PATHS, f"path.contour-{structure}")
    return [(item["x"], item["y"], item["width"], item["height"]) for item in found]


def drag(page, start, *points):
    """Press the button at `start`, move over the points and let go at the last one."""
    page.mouse(("down", start), *(("move", point) for point in points), ("up", points[-1]))


def pull(page, css, dx, dy):
    """Drag an element by whole screen pixels, in two steps."""
    x, y = page.middle(page.find(css)[0])
    drag(page, (x, y), (x + round(dx / 2), y + round(dy / 2)), (x + round(dx), y + round(dy)))


def test_a_suggestion_is_saved_carried_over_and_corrected_as_a_second_example(tmp_path, page, served, phantom_cohort):
    process, _ = served
    page.click("#suggest")
    page.until(lambda: page.contours() == 3, "no suggestion")
    assert page.find("#alert")[0].is_displayed() is False
    page.click("#save")
    page.until(lambda: "Carried over to 6 other patients" in page.text(), "not carried over")
    first = Annotation.load(tmp_path / "out")
    assert first.structures == ("heart", "left_lung", "right_lung")
    cohort = Cohort.open(phantom_cohort)
    for name in first.structures:
        assert compute_dice(first.masks[name], cohort.mask(first.image_id, name)) > 0.5, name

    page.click("#panels li:nth-child(3) .enlarge")
    title = page.find("#enlarged-title")[0]
    page.until(lambda: title.text.startswith("Patient 2"), "not enlarged")
    assert "match 0." in title.text or "match 1." in title.text
    page.click("#enlarged [value=next]")
    page.until(lambda: title.text.startswith("Patient 3"), "no next patient")
    assert list_violations(page.driver) == []
    page.click("#correct")
    page.until(lambda: page.find("#board")[0].is_displayed() and page.contours() == 3, "no contours to correct")
    assert "carried over again with both" in page.find("#hint")[0].text
    page.click("#save")
    page.until(lambda: "Patient 3: your drawing" in page.text(), "not carried over again")
    second = Annotation.load(tmp_path / "out" / "example_2")
    assert second.structures == first.structures
    assert second.image_id != first.image_id
    assert list_violations(page.driver) == []

    page.click("#finish")
    page.until(lambda: "You can close this page" in page.text(), "no end")
    words = shlex.split(page.find("#next")[0].text)
    out = tmp_path / "out"
    sources = [word for folder in (out, out / "example_2") for word in ("--annotation", str(folder))]
    assert words == ["medprior", "prior", str(phantom_cohort), f"{out}_prior", *sources]
    assert page.find("#copy")[0].is_displayed()
    assert page.find("#alert")[0].is_displayed() is False
    assert page.log() == []  # nothing is asked of the server that ended
    assert list_violations(page.driver) == []
    assert process.wait(60) == 0


def test_a_second_part_is_added_or_replaces_the_first_and_one_part_is_deleted(page):
    square = [(0.2, 0.2), (0.3, 0.2), (0.3, 0.3), (0.2, 0.3)]
    page.draw("heart", square)
    for answer, count in (("add", 2), ("cancel", 2), ("replace", 1), ("add", 2)):
        page.click("#points")
        at = page.screen([(x + 0.3, y + 0.2) for x, y in square])
        for point in [*at, at[0]]:
            page.mouse(("click", point))
        page.until(lambda: page.find("#second-part")[0].is_displayed(), "no question")
        page.click(f"#second-part [value={answer}]")
        page.until(lambda count=count: page.contours() == count, answer)
    assert page.find("#remove")[0].text == "Delete part"
    # The part that was drawn last is the selected one; a click selects another.
    (kept, _) = boxes(page, "heart")
    page.click("#remove")
    page.until(lambda: page.contours() == 1, "nothing was deleted")
    np.testing.assert_allclose(boxes(page, "heart")[0], kept, atol=3)
    assert page.find("#remove")[0].text == "Delete"


def test_a_shape_is_moved_sized_and_turned_by_its_handles_and_by_keys(page):
    page.click("[data-name=heart]")
    page.click("#template")
    page.until(lambda: page.contours() == 1, "no shape")
    page.click("#shape")
    x, y, width, height = boxes(page, "heart")[0]
    pull(page, ".handle-move", 40, -30)
    np.testing.assert_allclose(boxes(page, "heart")[0], (x + 40, y - 30, width, height), atol=3)
    pull(page, ".handle-scale", width / 4, height / 4)
    sized = boxes(page, "heart")[0]
    np.testing.assert_allclose(sized[2:], (1.5 * width, 1.5 * height), rtol=0.06)
    pull(page, ".handle-turn", sized[3] / 2, sized[3] / 2)  # from the top to the right of the centre
    turned = boxes(page, "heart")[0]
    np.testing.assert_allclose(turned[2:], sized[3:1:-1], rtol=0.08)
    page.keys("+")
    assert boxes(page, "heart")[0][2] > turned[2] * 1.01
    page.click("#undo")
    np.testing.assert_allclose(boxes(page, "heart")[0], turned, atol=2)
    assert page.find("#shape")[0].get_attribute("aria-pressed") == "false"


def test_brush_eraser_and_smoothing_change_the_structure(page):
    page.click("[data-name=heart]")
    page.click("#brush")
    at = page.screen([(0.4, 0.5), (0.5, 0.5), (0.6, 0.5)])
    drag(page, *at)
    page.until(lambda: page.contours() == 1, "nothing was painted")
    painted = boxes(page, "heart")[0]
    reach = page.box()[2] * 0.018 * 2  # the radius is 18 thousandths of the longer side
    np.testing.assert_allclose(painted[2:], (at[2][0] - at[0][0] + reach, reach), atol=9)
    page.click("#eraser")
    drag(page, *page.screen([(0.62, 0.4), (0.62, 0.5), (0.62, 0.6)]))
    page.until(lambda: boxes(page, "heart")[0][2] < painted[2] - 4, "nothing was erased")
    page.click("#smooth")
    page.until(lambda: boxes(page, "heart")[0][2] < painted[2] - 4, "smoothing lost it")
    page.click("#undo")
    page.click("#undo")
    page.click("#undo")
    page.until(lambda: page.contours() == 0, "not undone")
    assert page.log() == []


def test_choosing_and_drawing_have_no_serious_barrier(driver, served):
    page = Page(driver, served[1])
    page.until(lambda: len(page.find("#suggestions button")) == 12, "no suggestions")
    assert list_violations(driver) == []
    page.click("#suggestions button")
    page.box()
    page.click("#template")
    page.until(lambda: page.contours() == 1, "no shape")
    assert list_violations(driver) == []


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180), (820, 720), (390, 844)])
def test_no_tool_is_cut_off(page, width, height):
    page.size(width, height)
    page.until(lambda: page.box()[2] > 150, "no radiograph")
    inner = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert inner == width
    for css in ("#suggest", "#points", "#brush", "#eraser", "#smooth", "#snap", "#shape", "#remove", "#redo", "#undo",
                "#save"):  # fmt: skip
        button = page.find(css)[0]
        overflow = page.driver.execute_script("return arguments[0].scrollWidth - arguments[0].clientWidth", button)
        rect = button.rect
        assert rect["x"] >= 0, css
        assert rect["x"] + rect["width"] <= width, css
        assert overflow <= 0, css
        if width > 400:
            assert rect["y"] + rect["height"] <= height, css
