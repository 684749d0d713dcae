"""A small cohort on disk, and what is in it."""

from __future__ import annotations

import csv
import hashlib

from medprior.phantom import PhantomSettings

SMALL = PhantomSettings(size=80)


def fingerprint(folder):
    """SHA-256 of every file of a cohort but its config."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "config.json"
    }


def table(path):
    """Rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
