"""Makes the pictures of the annotate room's README: python -m tests.annotate.draw_pictures.

Everything on them is a generated phantom.
"""

import io
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

import medprior.annotate
from medprior.cohort import Cohort
from tests.annotate.page.browser import Page, command
from tests.chromium import chromium
from tests.conftest import phantom_cohort_at

OUT = Path(medprior.annotate.__file__).parent / "pictures"


def outline(mask, points=22):
    """About `points` corners of a mask, as shares of the picture."""
    line = max(find_contours(np.pad(mask.astype(float), 1), 0.5), key=len) - 0.5
    tolerance = 0.5
    while len(found := approximate_polygon(line, tolerance)) > points:
        tolerance *= 1.15
    return [(x / mask.shape[1], y / mask.shape[0]) for y, x in found[:-1]]


def shot(page, name):
    """Keep the screen as a small PNG."""
    with Image.open(io.BytesIO(page.driver.get_screenshot_as_png())) as image:
        small = image.convert("RGB").resize((960, 540), Image.Resampling.LANCZOS)
        # Few pixels are coloured; this way they keep their colour.
        quantised = small.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        quantised.save(OUT / f"{name}.png", optimize=True)


def walk(page, cohort):
    """The first-time walk."""
    loaded = "return [...document.images].every(i => i.complete)"
    page.until(lambda: len(page.find("#suggestions button")) == 12, "no suggestions")
    page.until(lambda: page.driver.execute_script(loaded), "pictures")
    shot(page, "1_choose")
    key = re.search(r"key=(\w+)", page.find("#suggestions img")[0].get_attribute("src"))[1]
    page.click("#suggestions button")
    for name in ("right_lung", "heart", "left_lung"):
        page.draw(name, outline(cohort.mask(key, name)))
    shot(page, "2_draw")
    page.click("#save")
    page.until(lambda: "Carried over" in page.text(), "not carried over")
    page.until(lambda: page.driver.execute_script(loaded), "pictures")
    shot(page, "3_result")


def main():
    """Draw them all."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        path = phantom_cohort_at(Path(place) / "cohort", 40, 512)
        process = command(Path(place), "--cohort", str(path))
        try:
            found = (re.search(r"http://\S+", line) for line in process.stdout)
            with chromium(1280, 720) as driver:
                walk(Page(driver, next(m[0] for m in found if m)), Cohort.open(path))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
