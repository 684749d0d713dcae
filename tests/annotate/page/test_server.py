"""The command that serves the page."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from medprior.annotate.page.server import has_desktop, run_drawing_page
from medprior.errors import InputMissing
from tests.annotate.page.browser import command


def test_ending_without_a_drawing_is_no_success(tmp_path):
    process = command(tmp_path)
    process.stdout.readline()
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nothing was saved" in error


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
@pytest.mark.parametrize(
    ("display", "expected"), [({}, False), ({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "w"}, True)]
)
def test_a_browser_is_opened_from_a_terminal_on_a_desktop_only(monkeypatch, display, expected):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in display.items():
        monkeypatch.setenv(name, value)
    parent, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert has_desktop() == expected
        monkeypatch.setattr(sys, "stdout", open(os.devnull, "w"))  # noqa: SIM115
        assert not has_desktop()
    os.close(parent)


def test_an_unknown_first_image_is_refused_before_serving(tmp_path, unmasked_cohort):
    with pytest.raises(InputMissing, match="not open"):
        run_drawing_page(tmp_path / "out", unmasked_cohort, image_id="i9", browser=False)
    assert not (tmp_path / "out").exists()


def test_neither_the_terminal_nor_the_browsers_arguments_hold_the_token(tmp_path):
    """Every user of a machine sees the arguments of its processes; logs keep what is printed."""
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/arguments.part && mv {tmp_path}/arguments.part {tmp_path}/arguments\n'
    )
    browser.chmod(0o700)
    parent, terminal = pty.openpty()
    line = [sys.executable, "-m", "medprior", "annotate", tmp_path / "out", "--page", "--no-tracking"]
    environment = os.environ | {"DISPLAY": ":0", "BROWSER": str(browser)}
    process = subprocess.Popen(line, stdout=terminal, stderr=terminal, env=environment)
    try:
        deadline = time.monotonic() + 90
        while not (tmp_path / "arguments").exists():
            assert time.monotonic() < deadline, os.read(parent, 4000)
            time.sleep(0.1)
        entry_page = Path(unquote(urlsplit((tmp_path / "arguments").read_text().strip()).path))
        token = re.search(r"token=([\w-]+)", entry_page.read_text())[1]
        assert entry_page.stat().st_mode & 0o777 == 0o600
        printed = os.read(parent, 4000).decode()
        assert "Draw at http://127.0.0.1:" in printed
        assert token not in printed
        assert token not in (tmp_path / "arguments").read_text()
    finally:
        process.terminate()
        process.wait(60)
        os.close(parent)
        os.close(terminal)
    assert not entry_page.exists()
