"""Places of findings on the reading page, with the evidence of a real evaluation."""

import os
from pathlib import Path

import pytest

from medprior.deploy import load_model
from tests.accessibility import list_violations
from tests.chromium import chromium
from tests.deploy.located import evaluate_locations, save_disc_picture
from tests.deploy.service.test_page import SEEN, buttons, part, resized, until, upload
from tests.deploy.serving import post_radiograph, run_service


@pytest.fixture(scope="module")
def browser():
    with chromium(1280, 720) as driver:
        yield driver


@pytest.mark.browser
def test_findings_that_are_called_have_their_place_with_its_hit_rate(browser, discs, disc_models, tmp_path):
    evidence = evaluate_locations(discs, disc_models["good"], tmp_path)
    picture = save_disc_picture(discs, tmp_path / "disc.png")
    want = load_model(disc_models["good"], evidence=evidence)
    prediction = want.predict(picture)
    assert "far_from_training" not in prediction.flags
    boxes = want.locate_findings(prediction)["disc"].boxes
    with run_service(disc_models["good"], None, tmp_path / "log", "--evidence", str(evidence)) as (url, _):
        resized(browser, 1280, 720)
        browser.get(url)
        upload(browser, picture)
        until(browser, lambda: part(browser, "boxes-row").is_displayed())
        location = want.evidence["disc"].location
        row = browser.find_element("css selector", "#findings tr")
        assert f"place is hit in {100 * location.hit_rate:.0f} %" in row.text
        assert f"of {location.images} images" in row.text
        assert "Weak localisation" in part(browser, "boxes-row").text
        with_boxes = browser.execute_script(SEEN)[1]
        part(browser, "show-boxes").click()
        assert browser.execute_script(SEEN)[1] < 0.5 * with_boxes
        part(browser, "show-boxes").click()
        assert browser.execute_script(SEEN)[1] == pytest.approx(with_boxes)
        names = [button.get_attribute("data-attention") for button in buttons(browser)]
        assert names[-1] == "finding:disc"
        assert buttons(browser)[-1].text == "disc"
        buttons(browser)[-1].click()
        assert browser.execute_script(SEEN)[1] > with_boxes
        assert list_violations(browser) == []
        answer = post_radiograph(url, picture.read_bytes(), "image/png", include="locations").json()
        assert answer["locations"]["disc"]["boxes"] == [
            [pytest.approx(side, abs=0.06) for side in box] for box in boxes
        ]
        # A picture without the finding has no place for it.
        upload(browser, save_disc_picture(discs, tmp_path / "none.png", label=0.0))
        assert not part(browser, "boxes-row").is_displayed()
        # The test itself reads the canvas often, of which Chromium warns.
        assert [item for item in browser.get_log("browser") if item["level"] == "SEVERE"] == []
        folder = os.environ.get("MEDPRIOR_SCREENSHOTS")
        if folder:
            upload(browser, picture)
            until(browser, lambda: part(browser, "boxes-row").is_displayed())
            browser.save_screenshot(str(Path(folder) / "serve_boxes.png"))
