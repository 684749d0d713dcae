"""Every reject code and flag that the code can give is explained in CODES.md of the room."""

import re
from pathlib import Path

import medprior

ROOT = Path(medprior.__file__).parent
EXPLAINED = (ROOT / "dicom" / "CODES.md").read_text()
SOURCES = [path.read_text() for room in ("dicom", "ingest") for path in (ROOT / room).rglob("*.py")]


def test_every_code_is_listed():
    codes = {c for text in SOURCES for c in re.findall(r'(?:Rejected|Refused)\(\s*"([a-z_]+)"', text)}
    assert len(codes) > 35
    assert not {code for code in codes | {"conflict"} if f"`{code}`" not in EXPLAINED}
