"""The file that hands a token to its user alone."""

import html
import os
import re

from medprior.pages.entry_page import write_entry_page


def test_only_its_owner_reads_it_whatever_the_umask_and_it_ends_with_its_block():
    url = 'http://127.0.0.1:81/?token=a&"><b>'
    old = os.umask(0)
    try:
        with write_entry_page(url) as path:
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            text = path.read_text()
    finally:
        os.umask(old)
    assert html.unescape(re.search(r'href="([^"]+)"', text)[1]) == url
    assert f"url={html.escape(url)}" in text
    assert "<b>" not in text
    assert not path.parent.exists()
