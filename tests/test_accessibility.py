"""The accessibility check itself: axe-core as vendored, and a page that must fail it."""

import hashlib
import re

import pytest

from tests.accessibility import AXE, list_violations
from tests.chromium import chromium


def test_axe_is_that_of_the_package():
    rows = re.findall(r"`([\w.]+)` \| `([0-9a-f]{64})`", (AXE.parent / "VENDOR.md").read_text())
    assert {name for name, _ in rows} == {path.name for path in AXE.parent.iterdir()} - {"VENDOR.md"}
    for name, digest in rows:
        assert hashlib.sha256((AXE.parent / name).read_bytes()).hexdigest() == digest


@pytest.mark.browser
def test_a_page_that_nobody_can_read_fails(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        "<!doctype html><html lang=en><title>x</title><main><h1>Title</h1>"
        "<p style='color:#ccc;background:#fff'>pale</p>"
        "<img src='data:,'><button></button><input type=text></main></html>"
    )
    with chromium(800, 600) as driver:
        driver.get(page.as_uri())
        rules = {words.split()[1].rstrip(":") for words in list_violations(driver)}
    assert {"color-contrast", "image-alt", "button-name", "label"} <= rules
