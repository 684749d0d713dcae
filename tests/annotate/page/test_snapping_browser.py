"""Snapping to the nearest edge, on phantoms and on the radiograph that ships, in a real Chromium."""

import os
from pathlib import Path

import numpy as np
import pytest

from medprior.annotate import Annotation
from medprior.annotate.page.mask_editing import trace_contours
from medprior.cohort import Cohort
from medprior.metrics.overlap import compute_dice
from medprior.resources import find_resource_folder
from tests.annotate.page.browser import Page, command, read_address
from tests.annotate.page.test_editing_browser import boxes
from tests.chromium import chromium

pytestmark = pytest.mark.browser
EXAMPLE = Path("chest_xray_segmentation") / "docs" / "example.png"


@pytest.fixture(scope="module")
def driver():
    with chromium(1280, 720) as browser:
        yield browser


@pytest.fixture
def opened(tmp_path, driver, request):
    """The page with one radiograph: arguments of the command."""
    process = command(tmp_path, *request.param)
    try:
        address = read_address(process)
        assert address, process.stderr.read()
        page = Page(driver, address)
        page.box()
        yield page, process
    finally:
        process.kill()
        process.communicate()


def keep_picture(page, name):
    """A screenshot where someone asked for them."""
    if folder := os.environ.get("MEDPRIOR_SCREENSHOTS"):
        page.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize("opened", [("--image", str(find_resource_folder("bundles") / EXAMPLE))], indirect=True)
def test_a_lung_that_was_moved_off_its_edge_goes_back_to_it_on_a_real_radiograph(opened):
    from selenium.webdriver.common.keys import Keys

    page, _ = opened
    page.click("#suggest")
    page.until(lambda: page.contours() == 3, "no suggestion")
    page.click("[data-name=right_lung]")
    before = boxes(page, "right_lung")[0]
    page.click("#shape")
    page.keys(Keys.SHIFT, Keys.ARROW_LEFT)
    page.until(lambda: boxes(page, "right_lung")[0] != before, "not moved")
    moved = boxes(page, "right_lung")[0]
    keep_picture(page, "snap_moved")
    page.click("#snap")
    page.until(lambda: boxes(page, "right_lung")[0] != moved, "not snapped")
    snapped = boxes(page, "right_lung")[0]
    keep_picture(page, "snap_after")
    assert abs(snapped[0] - before[0]) < 0.6 * abs(moved[0] - before[0])
    page.click("#undo")
    np.testing.assert_allclose(boxes(page, "right_lung")[0], moved, atol=1)
    page.click("#redo")
    np.testing.assert_allclose(boxes(page, "right_lung")[0], snapped, atol=1)
    assert page.log() == []
    for width, height in ((820, 1180), (390, 844)):
        page.size(width, height)
        page.click("#reset")
        keep_picture(page, f"draw_{width}")


def test_a_rough_drawing_of_a_phantom_becomes_a_close_one(tmp_path, driver, phantom_cohort):
    process = command(tmp_path, "--cohort", str(phantom_cohort), "--image-id", "p0003")
    try:
        page = Page(driver, read_address(process))
        truth = Cohort.open(phantom_cohort).mask("p0003", "right_lung")
        rows, cols = truth.shape
        shift = 0.02  # of the side: about the reach of the tool
        rough = [(x / cols - shift, y / rows + shift / 2) for x, y in trace_contours(truth, truth.shape)[0]]
        page.draw("right_lung", rough)
        before = boxes(page, "right_lung")[0]
        page.keys("n")
        page.until(lambda: boxes(page, "right_lung")[0] != before, "not snapped")
        page.click("#save")
        page.until(lambda: "Carried over to 6 other patients" in page.text(), "not carried over")
        snapped = Annotation.load(tmp_path / "out").masks["right_lung"]
        moved = np.roll(truth, (round(shift / 2 * rows), -round(shift * cols)), axis=(0, 1))
        assert compute_dice(snapped, truth) > compute_dice(moved, truth)
        keep_picture(page, "result_1280")
        for width, height in ((820, 1180), (390, 844)):
            page.size(width, height)
            keep_picture(page, f"result_{width}")
    finally:
        process.kill()
        process.communicate()
