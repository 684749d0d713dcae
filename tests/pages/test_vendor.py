"""What is vendored is what VENDOR.md says, with its licence, and needs no network."""

import hashlib
import re
from pathlib import Path

import medprior.pages

ROOT = Path(medprior.pages.__file__).parent
VENDOR = ROOT / "vendor"


def test_sums_agree():
    rows = re.findall(r"`(openseadragon/[\w.]+)` \| `([0-9a-f]{64})`", (VENDOR / "VENDOR.md").read_text())
    assert {name for name, _ in rows} == {
        str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()
    } - {"VENDOR.md"}
    for name, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_licence_is_there():
    text = (VENDOR / "openseadragon" / "LICENSE.txt").read_text()
    assert "Redistribution and use in source and binary forms" in text


def test_no_shared_part_asks_another_machine():
    for path in (ROOT / "web").rglob("*"):
        if path.is_file():
            assert not re.search(r"https?://|//cdn", path.read_text()), path
