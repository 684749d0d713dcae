"""One drawing session: the page is opened, drawn on, and closed again."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import webbrowser
from pathlib import Path

from pydantic import SecretStr

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.app import create_drawing_app
from medprior.annotate.page.drawing_session import DrawingSession
from medprior.annotate.page.transfer_preview import TransferPreview, create_command_transfer
from medprior.cohort import Cohort
from medprior.dicom.bounded_reader import BoundedReader
from medprior.errors import InputMissing
from medprior.pages.access import MEBIBYTE, AccessSettings
from medprior.pages.serving import open_listener, serve_app

MAX_FILE_BYTES = 256 * MEBIBYTE


def run_drawing_page(
    out: Path,
    cohort: Cohort | None = None,
    image: Path | None = None,
    image_id: str = "",
    notes: str = "",
    port: int = 0,
    browser: bool = True,
) -> Annotation:
    """Serve the drawing page on this machine alone until the user is done; blocks.

    Args:
        out: the annotation's folder.
        cohort: pictures to choose from, and patients to show the drawing on.
        image: a file to begin with.
        image_id: an image of the cohort to begin with.
        notes: free text for the annotation.
        port: 0 takes a free one.
        browser: open the page in the user's browser, where there is a desktop.

    Raises:
        Rejected: `image` is no usable radiograph.
        InputMissing: no such image, or the user ended without saving.
        MedpriorError: the port is taken.
    """
    access = AccessSettings(port=port, token=SecretStr(secrets.token_urlsafe(24)), max_bytes=MAX_FILE_BYTES)
    carrier = None if cohort is None else TransferPreview(cohort, create_command_transfer(cohort.path))
    with BoundedReader() as reader:
        desk = DrawingSession(out, cohort, reader.read, notes)
        first = image_id
        if image is not None:
            first = desk.add(image.read_bytes())
        if first:
            desk.picture(first)
        listener = open_listener(access)

        def started(url: str) -> None:
            """Say where the page is, and open it where somebody sits in front of a desktop."""
            print(f"Draw at {url}\n(on this machine only; Ctrl-C ends it)", flush=True)
            if browser and has_desktop():
                webbrowser.open(url)

        # The terminal is for the address and for what goes wrong.
        logging.getLogger("medprior.pages").setLevel(logging.WARNING)
        try:
            serve_app(create_drawing_app(desk, carrier, access, first), access, listener, started)
        finally:
            if carrier is not None:
                carrier.close()
    if desk.saved is None:
        raise InputMissing("nothing was saved on the page", where=str(out), fix="draw, then Save")
    return desk.saved


def has_desktop() -> bool:
    """Whether somebody sits in front of a terminal on a desktop."""
    shown = sys.platform in {"win32", "darwin"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return sys.stdout.isatty() and shown
