"""Hands the address of a page with its token to this user alone, in a file that a browser opens."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENTRY_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>medprior</title>
<p><a href="{url}">{url}</a></p>
"""


@contextmanager
def write_entry_page(url: str) -> Iterator[Path]:
    """A file that leads a browser to `url`; it is removed at the end.

    A token in a printed address stays in logs, and one in the arguments of a browser is shown to every user
    of the machine. This file has mode 0600, in a folder of mode 0700.
    """
    with tempfile.TemporaryDirectory(prefix="medprior-page-") as folder:
        path = Path(folder, "open.html")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(ENTRY_PAGE.format(url=html.escape(url)))
        yield path
