"""The page's files: served, from this machine, as vendored."""

import hashlib
import re
from pathlib import Path

import medprior.annotate.page

WEB = Path(medprior.annotate.page.__file__).parent / "web"


def test_every_file_of_the_page_is_served_and_asks_no_other_machine(client):
    text = client.get("/").text
    names = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert len(names) >= 7
    for name in names:
        assert client.get(name).status_code == 200, name
    assert not re.search(r"<script(?! (type=\"module\" )?src)|style=|onclick", text)
    for path in [*WEB.glob("*.js"), *WEB.glob("*.css"), *WEB.glob("*.html")]:
        assert not re.search(r"https?://|//cdn", path.read_text()), path


def test_vendored_files_are_those_of_the_packages():
    vendor = WEB / "vendor"
    table = (vendor / "VENDOR.md").read_text()
    rows = re.findall(r"^\| `([\w./-]+)` \| `([0-9a-f]{64})` \|$", table, re.MULTILINE)
    files = {str(p.relative_to(vendor)) for p in vendor.rglob("*") if p.is_file()}
    assert {name for name, _ in rows} == files - {"VENDOR.md"}
    for name, digest in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    assert "BSD 2-Clause" in (vendor / "leaflet" / "LICENSE.txt").read_text()
    assert "MIT" in (vendor / "leaflet_geoman" / "LICENSE.txt").read_text()
