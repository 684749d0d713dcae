"""Run the drawing page for one annotation."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from pydantic import SecretStr

from medprior.annotate.annotation import Annotation
from medprior.annotate.page.app import create_drawing_app
from medprior.annotate.page.drawing_session import DrawingSession
from medprior.annotate.page.suggestion import SuggestionProcess, Suggestions
from medprior.annotate.page.transfer_preview import TransferPreview
from medprior.annotate.page.transfer_process import TransferProcess
from medprior.cohort import Cohort
from medprior.dicom.bounded_reader import BoundedReader
from medprior.errors import InputMissing
from medprior.pages.access import MEBIBYTE, AccessSettings
from medprior.pages.entry_page import write_entry_page
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
    """Serve the drawing page on this machine only, and block until the user finishes.

    Args:
        out: annotation folder.
        cohort: images to choose from, and patients for the transfer preview.
        image: file to open first.
        image_id: image of the cohort to open first.
        notes: free text for the annotation.
        port: 0 takes a free one.
        browser: open the page in a browser, where there is a desktop.

    Raises:
        Rejected: `image` is no usable radiograph.
        InputMissing: the image does not exist, or the user saved nothing.
        MedpriorError: the port is in use.
    """
    access = AccessSettings(port=port, token=SecretStr(secrets.token_urlsafe(24)), max_bytes=MAX_FILE_BYTES)
    with ExitStack() as stack:
        reader = stack.enter_context(BoundedReader())
        session = DrawingSession(out, cohort, reader.read, notes)
        first = image_id if image is None else session.add_file(image.read_bytes())
        if first:
            session.get_picture(first)
        listener = open_listener(access)
        suggestions = Suggestions(stack.enter_context(closing(SuggestionProcess())))
        preview = None if cohort is None else stack.enter_context(open_transfer_preview(cohort))

        # The terminal shows only the address and warnings.
        logging.getLogger("medprior.pages").setLevel(logging.WARNING)
        entry_page = stack.enter_context(write_entry_page(access.url(listener.getsockname()[1])))

        def announce(url: str) -> None:
            """Print where the page is, and open it where there is a desktop."""
            print(f"Draw at {url}\nOpen {entry_page.as_uri()}, which holds the token", flush=True)
            print("(on this machine only; Ctrl-C ends it)", flush=True)
            if browser and has_desktop():
                webbrowser.open(entry_page.as_uri())

        app = create_drawing_app(session, preview, access, first, suggestions)
        serve_app(app, access, listener, announce)
    if session.annotation is None:
        raise InputMissing("nothing was saved on the page", where=str(out), fix="draw, then Save")
    return session.annotation


@contextmanager
def open_transfer_preview(cohort: Cohort) -> Iterator[TransferPreview]:
    """The transfer of drawings to patients of a cohort; its process starts now and ends with the context."""
    with closing(TransferProcess(cohort.path)) as transfer, closing(TransferPreview(cohort, transfer)) as preview:
        yield preview


def has_desktop() -> bool:
    """Whether the process has a terminal on a desktop."""
    has_display = sys.platform in {"win32", "darwin"} or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return sys.stdout.isatty() and has_display
