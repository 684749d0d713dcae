"""`SECURITY.md` names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_attack_names_tests_of_its_file():
    rows = re.findall(r"^\| [^|]+ \| `(tests/[\w/]+\.py)`: (.*) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert len(rows) >= 15
    for path, names in rows:
        defined = set(re.findall(r"^def (test_\w+)\(", (ROOT / path).read_text(), re.MULTILINE))
        assert set(re.findall(r"`(\w+)`", names)) <= defined, path
