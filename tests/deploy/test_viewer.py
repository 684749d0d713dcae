"""A radiograph with contours, seen in a viewer of others over a real archive's DICOMweb."""

import datetime
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.deploy.inference.dicom_output import build_dicom_objects
from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom import read_image
from medprior.dicom.derived.derived_object import CreatorInfo
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.palette import structure_rgb
from tests.chromium import chromium
from tests.deploy.ohif_viewer import find_viewer, run_viewer
from tests.ingest.archive.archived_radiographs import upload_files
from tests.orthanc import OrthancServer

SIDE = 512
MAKER = CreatorInfo("0.1.0", "ab" * 32, datetime.datetime(2026, 3, 4, 5, 6, 7))


def draw_l_shape() -> np.ndarray:
    """An L off the centre: no turn of it is itself, bool [rows, cols]."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[60:330, 60:110] = True
    mask[280:330, 60:220] = True
    return mask


def predict_l_shape(content: bytes) -> RadiographPrediction:
    """A prediction whose one mask is the L."""
    radiograph = read_image(io.BytesIO(content))
    return RadiographPrediction(
        pixels=radiograph.pixels,
        pixel_sha256=radiograph.pixel_sha256,
        model_digest=MAKER.digest,
        masks={"heart": draw_l_shape()},
        native=NativeGrid.from_radiograph(radiograph),
    )


def find_text(browser, text: str):
    """Elements whose own text it is."""
    return browser.find_elements("xpath", f"//*[normalize-space(text())='{text}']")


def wait_for(browser, text: str):
    """The first element with that text, once it is there."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 240, 0.5).until(lambda _: find_text(browser, text))[0]


def show_series(browser, url: str, description: str) -> Image.Image:
    """Open the study, then the series of that description; a picture of the viewport."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(url)
    wait_for(browser, "Skip all").click()
    ActionChains(browser).double_click(wait_for(browser, description)).perform()
    seen: list[bytes] = []

    def is_still(_: object) -> bool:
        """Whether the viewport shows a picture that no longer changes."""
        seen.append(browser.find_element("css selector", ".cornerstone-canvas").screenshot_as_png)
        grey = np.asarray(Image.open(io.BytesIO(seen[-1])).convert("L"))
        return len(seen) > 3 and seen[-1] == seen[-3] and grey.mean() > 20

    WebDriverWait(browser, 240, 1).until(is_still)
    return Image.open(io.BytesIO(seen[-1])).convert("RGB")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1800)
def test_contours_lie_on_the_radiograph_in_ohif(tmp_path):
    viewer = find_viewer()
    content = create_example_dicom(seed=3, side=SIDE)
    objects = build_dicom_objects(predict_l_shape(content), io.BytesIO(content), ("seg", "sc"), MAKER)
    paths = [tmp_path / "radiograph.dcm"]
    paths[0].write_bytes(content)
    for kind, made in objects.items():
        paths.append(tmp_path / f"{kind}.dcm")
        paths[-1].write_bytes(made)
    with (
        OrthancServer(tmp_path / "archive") as archive,
        run_viewer(viewer, archive.rest_url) as url,
        chromium(1280, 900, with_webgl=True) as browser,
    ):
        upload_files(archive, paths)
        study = f"{url}/viewer?StudyInstanceUIDs=2.25.4"
        capture = show_series(browser, study, "medprior overlay, research only")
        if os.environ.get("MEDPRIOR_SCREENSHOTS"):
            browser.save_screenshot(str(Path(os.environ["MEDPRIOR_SCREENSHOTS"]) / "ohif.png"))
    found, expected = locate_contours(capture), locate_expected_contours(capture.size)
    print(f"box of the contours in the viewport: {found}, expected {expected}")
    assert np.abs(np.subtract(found, expected)).max() < 0.015 * capture.height


def locate_contours(picture: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels in the colour of the heart, and that they are an L."""
    distance = np.abs(np.asarray(picture).astype(int) - structure_rgb("heart", 0)).max(axis=2)
    rows, cols = np.nonzero(distance < 40)
    box = (cols.min(), rows.min(), cols.max(), rows.max())
    upper_right = (cols > np.mean(box[::2])) & (rows < np.mean(box[1::2]))
    assert len(rows) > 300
    assert not upper_right.any()  # the L is open there
    return tuple(int(value) for value in box)


def locate_expected_contours(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box of the L in a viewport of (width, height) that shows the whole radiograph in its middle."""
    scale = min(size) / SIDE
    left, top = ((side - SIDE * scale) / 2 for side in size)
    rows, cols = np.nonzero(draw_l_shape())
    corners = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
    return tuple(round(offset + scale * value) for offset, value in zip((left, top) * 2, corners, strict=True))
