"""The command that serves the page."""

import os
import sys

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
