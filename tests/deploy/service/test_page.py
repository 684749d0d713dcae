"""The reading page as a reader meets it: a real browser, a real server, no network beyond it."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

import medprior.dicom
from medprior.deploy import load_model
from medprior.deploy.inference.example import create_example_dicom
from tests.accessibility import list_violations
from tests.chromium import chromium
from tests.deploy.serving import run_service

FOREIGN = """
return performance.getEntriesByType('resource').map(e => e.name)
  .filter(name => !name.startsWith(location.origin) && !name.startsWith('data:'));
"""
# Mean grey of the view's layer canvas, and how far its colours are from grey.
SEEN = """
const canvas = document.querySelector('canvas.layers');
const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let grey = 0, colour = 0;
for (let i = 0; i < data.length; i += 4) {
  grey += data[i + 1];
  colour += Math.abs(data[i] - data[i + 1]) + Math.abs(data[i + 1] - data[i + 2]);
}
return [grey / (data.length / 4), colour / (data.length / 4)];
"""
FOCUSED = """
const e = document.activeElement;
const label = document.querySelector(`label[for="${e.id}"]`);
const shown = e.matches('input[type=file]') && label ? label : e;
const style = getComputedStyle(shown);
return [e.id || e.dataset.attention || e.dataset.structure || e.className || e.tagName,
        style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
"""


@pytest.fixture(scope="module")
def browser():
    with chromium(1280, 720) as driver:
        yield driver


@pytest.fixture(scope="module")
def address(classifier, segmenter, tmp_path_factory):
    token = tmp_path_factory.mktemp("page") / "token"
    token.write_text("correct-horse-battery-staple")
    log = token.with_name("log")
    with run_service(classifier, segmenter, log, "--token-file", str(token)) as (url, _):
        yield f"{url}?token={token.read_text()}"


@pytest.fixture
def page(browser, address):
    resized(browser, 1280, 720)
    browser.get(address)
    browser.get_log("browser")
    return browser


def resized(browser, width: int, height: int) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def until(page, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 60, 0.1).until(lambda _: condition())


def part(page, name: str):
    return page.find_element("id", name)


def upload(page, path: Path, shown: str = "reading") -> None:
    field = "file-first" if part(page, "empty").is_displayed() else "file"
    part(page, field).send_keys(str(path))
    until(page, lambda: part(page, shown).is_displayed())
    until(page, lambda: not part(page, "busy").is_displayed())
    if shown == "reading":
        until(page, lambda: page.execute_script(SEEN)[0] > 20)


def dragged(page, name: str, value: int) -> None:
    script = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    page.execute_script(script, name, value)


@pytest.mark.browser
def test_a_radiograph_is_read_and_shown(page, classifier, segmenter, dicom):
    want = load_model(classifier, segmenter=segmenter).predict(dicom)
    assert "not for diagnosis" in page.find_element("tag name", "header").text
    assert "token" not in page.current_url
    upload(page, dicom)
    rows = page.find_elements("css selector", "#findings tr")
    assert want.evidence
    assert {row.get_attribute("data-finding") for row in rows} == set(want.findings)
    for row in rows:
        name = row.get_attribute("data-finding")
        assert f"{100 * want.findings[name]:.1f} %" in row.text
        assert f"{100 * want.thresholds[name]:.1f} %" in row.text
        call = want.call_finding(name)
        assert ("present" in row.text) == (call == "present")
        assert ("not called" in row.text) == (call == "none")
        evidence = want.evidence.get(name)
        assert (f"AUC {evidence.auc:.2f} [" if evidence else "not known") in row.text
        assert ("sensitivity" in row.text) == ("specificity" in row.text) == (evidence is not None)
    ratio = want.cardiothoracic
    said = part(page, "ratio").text
    assert said.startswith(f"{ratio.ratio:.2f}" if ratio else "Not measured")
    flags = page.find_elements("css selector", "#flags li")
    assert len(flags) == len(set(want.flags) - {"far_from_training"})
    assert part(page, "unfamiliar").is_displayed() == ("far_from_training" in want.flags)
    assert want.model_digest[:12] in part(page, "facts").text
    assert "not for diagnosis" in page.find_element("tag name", "header").text
    assert page.execute_script(FOREIGN) == []
    assert page.get_log("browser") == []


@pytest.mark.browser
def test_switches_and_window_change_the_picture(page, dicom):
    upload(page, dicom)
    grey, colour = page.execute_script(SEEN)
    assert colour > 0.05  # contours
    for box in page.find_elements("css selector", "#structures input"):
        box.click()
    lines = part(page, "show-lines")
    if lines.is_enabled():
        lines.click()
    assert page.execute_script(SEEN)[1] < 1e-6
    names = [b.get_attribute("data-attention") for b in buttons(page)]
    assert names == ["none", "all_heads"]
    buttons(page)[1].click()
    assert page.execute_script(SEEN)[1] > 1
    assert buttons(page)[1].get_attribute("aria-pressed") == "true"
    dragged(page, "strength", 0)
    assert page.execute_script(SEEN)[1] < 1e-6
    dragged(page, "level", 90)
    until(page, lambda: page.execute_script(SEEN)[0] < 0.8 * grey)
    part(page, "reset").click()
    until(page, lambda: abs(page.execute_script(SEEN)[0] - grey) < 1)
    part(page, "invert").click()
    until(page, lambda: abs(page.execute_script(SEEN)[0] - grey) > 1)


def buttons(page):
    return page.find_elements("css selector", "#attention button")


@pytest.mark.browser
def test_refusals_are_said_in_words_with_their_code(page, dicom, tmp_path):
    letter = tmp_path / "letter.dcm"
    letter.write_text("dear radiologist")
    upload(page, dicom)
    upload(page, letter, "refusal")
    assert part(page, "refusal-code").text == "not_dicom"
    assert "no DICOM" in part(page, "refusal-text").text
    assert not part(page, "reading").is_displayed()
    assert page.execute_script(SEEN)[0] == 0  # the picture before is gone, too
    upload(page, dicom)
    assert not part(page, "refusal").is_displayed()


@pytest.mark.browser
def test_keys_reach_and_do_everything(page, dicom):
    from selenium.webdriver.common.keys import Keys

    page.execute_script("document.activeElement.blur()")
    typed(page, Keys.TAB)
    seen = walked(page)
    assert "file-first" in seen
    upload(page, dicom)
    page.execute_script("document.body.tabIndex = -1; document.body.focus()")
    typed(page, Keys.TAB)
    seen = walked(page)
    wanted = {"file", "left_lung", "heart", "show-lines", "all_heads", "strength", "level", "width",
              "invert", "reset"}  # fmt: skip
    assert wanted <= set(seen)
    page.execute_script("document.querySelector('.openseadragon-canvas').focus()")
    before = page.execute_script(SEEN)[0]
    typed(page, "r")
    for _ in range(4):
        typed(page, "+")
    until(page, lambda: abs(page.execute_script(SEEN)[0] - before) > 3)
    typed(page, "f")
    typed(page, "0")
    until(page, lambda: abs(page.execute_script(SEEN)[0] - before) < 1)


def typed(page, keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(keys).perform()


def walked(page) -> list[str]:
    """What the tab key reaches; every stop must show that it has the focus."""
    from selenium.webdriver.common.keys import Keys

    names: list[str] = []
    for _ in range(40):
        name, visible = page.execute_script(FOCUSED)
        if name in names or name == "BODY":
            break
        assert visible, name
        names.append(name)
        typed(page, Keys.TAB)
    return names


@pytest.mark.browser
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180)])
def test_it_fits(page, dicom, width, height):
    resized(page, width, height)
    upload(page, dicom)
    script = "const d = document.documentElement; return d.scrollWidth - d.clientWidth"
    assert page.execute_script(script) <= 0
    side = "const s = document.querySelector('.side'); return s.scrollWidth - s.clientWidth"
    assert page.execute_script(side) <= 0
    viewer = part(page, "viewer").rect
    assert min(viewer["width"], viewer["height"]) > 500
    for name in ("findings-block", "ratio", "window-title"):
        box = part(page, name).rect
        assert box["width"] > 100
        assert box["x"] + box["width"] <= width
    folder = os.environ.get("MEDPRIOR_SCREENSHOTS")
    if folder:
        page.save_screenshot(str(Path(folder) / f"serve_{width}.png"))


@pytest.mark.browser
def test_every_flag_of_a_file_has_words(page):
    codes = (Path(medprior.dicom.__file__).parent / "CODES.md").read_text().split("## Flags")[1]
    names = [name for name in re.findall(r"`([a-z_]+)`", codes) if name != "stretch"]  # a setting
    assert {"syntax_guessed", "aspect_unusable", "low_range"} <= set(names)
    script = "const [names, done] = arguments;import('/static/words.js').then(words => done(names.map(words.flagged)))"
    said = dict(zip(names, page.execute_async_script(script, names), strict=True))
    assert [name for name, text in said.items() if text == name.replace("_", " ")] == []


@pytest.mark.browser
def test_bars_show_the_distance_to_the_threshold(page):
    script = (
        "const done = arguments[0]; import('/static/report.js').then(r => done("
        "[[0.36, 0.4], [0.2, 0.18], [0.4, 0.4], [0, 0.4], [1, 0.4], [1, 1]].map("
        "([probability, threshold]) => r.distance({probability, threshold}))))"
    )
    assert page.execute_async_script(script) == pytest.approx([0.45, 0.5 + 0.01 / 0.82, 0.5, 0, 1, 1])


@pytest.mark.browser
def test_an_unfamiliar_picture_is_said_first_and_its_calls_are_grey(page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    upload(page, tmp_path / "noise.png")
    banner, view = part(page, "unfamiliar"), page.find_element("css selector", ".view")
    assert banner.is_displayed()
    assert banner.rect["width"] == 1280
    assert banner.rect["y"] + banner.rect["height"] <= view.rect["y"]
    colours = {cell.value_of_css_property("color") for cell in page.find_elements("css selector", "#findings td")}
    assert len(colours) == 1
    assert "unlike" not in part(page, "flags").text


@pytest.mark.browser
def test_the_sides_are_on_the_picture(page, dicom):
    upload(page, dicom)
    white = """
    const canvas = document.querySelector('canvas.layers');
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const middle = canvas.width / 2;
    let first = canvas.width, last = 0;
    for (let y = 0; y < 60; y += 1) for (let x = 0; x < canvas.width; x += 1) {
      const at = 4 * (y * canvas.width + x);
      if (data[at] === 255 && data[at + 1] === 255) { first = Math.min(first, x); last = Math.max(last, x); }
    }
    return [first < middle, last > middle];
    """
    assert page.execute_script(white) == [True, True]


@pytest.mark.browser
def test_an_example_can_be_tried_without_a_file_of_ones_own(page):
    part(page, "example").click()
    until(page, lambda: part(page, "reading").is_displayed())
    until(page, lambda: page.execute_script(SEEN)[0] > 20)
    assert "pixels" in part(page, "facts").text
    assert not page.find_element("css selector", "[data-download=seg]").is_displayed()
    assert page.get_log("browser") == []


@pytest.mark.browser
def test_several_files_are_read_and_shown_from_a_list(page, dicom, tmp_path):
    letter = tmp_path / "letter.dcm"
    letter.write_text("dear radiologist")
    other = tmp_path / "other.dcm"
    other.write_bytes(create_example_dicom(seed=7, side=256))
    part(page, "file-first").send_keys("\n".join(map(str, (dicom, letter, other))))
    rows = page.find_elements("css selector", "#file-list button")
    until(page, lambda: not any(word in part(page, "file-list").text for word in ("waiting", "reading …")))
    rows = page.find_elements("css selector", "#file-list button")
    assert [row.find_element("css selector", "span").text for row in rows] == [dicom.name, "letter.dcm", "other.dcm"]
    assert [row.get_attribute("aria-current") for row in rows] == ["true", "false", "false"]
    assert rows[1].text.endswith("not read")
    assert part(page, "reading").is_displayed()
    rows[1].click()
    until(page, lambda: part(page, "refusal").is_displayed())
    typed(page, "n")  # from a refused file, too
    until(page, lambda: part(page, "reading").is_displayed())
    assert rows[2].get_attribute("aria-current") == "true"
    until(page, lambda: not part(page, "busy").is_displayed())
    typed(page, "n")
    until(page, lambda: rows[0].get_attribute("aria-current") == "true")


@pytest.mark.browser
def test_the_answer_is_downloaded_as_json_picture_and_dicom(page, dicom, tmp_path):
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    upload(page, dicom)
    names = {"json": "one.json", "png": "one_medprior.png", "seg": "one.seg.dcm", "sr": "one.sr.dcm"}
    for kind, name in names.items():
        page.find_element("css selector", f"[data-download={kind}]").click()
        until(page, lambda name=name: (tmp_path / name).is_file())
    answer = json.loads((tmp_path / "one.json").read_text())
    assert answer["status"] == "ok"
    assert "pixels" not in answer
    with Image.open(tmp_path / "one_medprior.png") as image:
        assert image.size == (256, 256)
        assert np.ptp(np.asarray(image.convert("RGB")).astype(int), axis=2).max() > 60  # coloured contours
    assert pydicom.dcmread(tmp_path / "one.seg.dcm").Modality == "SEG"
    assert pydicom.dcmread(tmp_path / "one.sr.dcm").Modality == "SR"
    assert "patient's name" in part(page, "download-note").text


@pytest.mark.browser
def test_presets_and_keys(page, dicom):
    upload(page, dicom)
    grey = page.execute_script(SEEN)[0]
    typed(page, "w")
    typed(page, "w")
    assert part(page, "preset").get_attribute("value") == "lungs"
    until(page, lambda: page.execute_script(SEEN)[0] > grey + 5)
    typed(page, "c")
    boxes = page.find_elements("css selector", "#structures input")
    assert not any(box.is_selected() for box in boxes)
    typed(page, "?")
    assert part(page, "help").is_displayed()
    assert list_violations(page) == []


@pytest.mark.browser
def test_no_serious_barrier_before_and_after_reading(page, dicom):
    assert list_violations(page) == []
    upload(page, dicom)
    assert list_violations(page) == []


@pytest.mark.browser
def test_a_window_between_two_shares_of_the_pixels(page):
    script = (
        "const done = arguments[0]; import('/static/presets.js').then(p => done("
        "['whole', 'contrast'].map(name => p.computeWindow(Uint16Array.from({length: 65536}, (_, i) => i), name))))"
    )
    whole, contrast = page.execute_async_script(script)
    assert whole == {"level": 0.5, "width": 1}
    assert contrast == pytest.approx({"level": 0.5, "width": 0.9}, abs=1e-3)
