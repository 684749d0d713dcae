"""Checks DICOM files with a program of others: `dciodvfy` of dicom3tools."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def list_validation_errors(content: bytes, folder: Path) -> list[str]:
    """The errors that `dciodvfy` finds in an object; skips where it is missing, fails where it is required."""
    program = shutil.which("dciodvfy")
    if program is None:
        reason = "dciodvfy is not installed (apt-get install dicom3tools)"
        pytest.fail(reason) if os.environ.get("MEDPRIOR_REQUIRE_ORTHANC") else pytest.skip(reason)
    path = folder / "object.dcm"
    path.write_bytes(content)
    result = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, timeout=60, errors="replace")
    return [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("Error")]
