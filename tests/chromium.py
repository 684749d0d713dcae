"""A headless Chromium for tests of pages; skipped where there is none and none is promised."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip
# WebGL on the processor, for viewers that draw with it.
WEBGL_FLAGS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


@contextmanager
def chromium(width: int, height: int, with_webgl: bool = False) -> Iterator[Any]:
    """A driver of a window of `width` x `height` pixels, its console's messages kept."""
    if not CHROMIUM.exists() or shutil.which("chromedriver") is None:
        assert "MEDPRIOR_REQUIRE_BROWSER" not in os.environ, "no Chromium with chromedriver"
        pytest.skip("no Chromium with chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    flags = (*(flag for flag in FLAGS if flag != "--disable-gpu"), *WEBGL_FLAGS) if with_webgl else FLAGS
    for flag in (*flags, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
