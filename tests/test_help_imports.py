"""`medprior STAGE --help` imports no large library and takes at most 0.3 seconds of processor time."""

import os
import subprocess
import sys

import pytest

from medprior.cli import STAGES

MAX_HELP_SECONDS = 0.3

LARGE_LIBRARIES = {
    "torch",
    "monai",
    "mlflow",
    "pandas",
    "scipy",
    "sklearn",
    "SimpleITK",
    "pydicom",
    "matplotlib",
    "timm",
}
LIST_IMPORTS = """
import contextlib, os, sys
from medprior.cli import STAGES, main
for name in STAGES:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(open(os.devnull, "w")):
        main([name, "--help"])
    print(name, *sorted(set(sys.modules) & set(sys.argv[1:])))
"""


def test_help_of_no_stage_imports_a_large_library():
    command = [sys.executable, "-c", LIST_IMPORTS, *LARGE_LIBRARIES]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    lines = completed.stdout.splitlines()
    assert len(lines) > 10
    assert [line for line in lines if " " in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage_is_quick(stage):
    """Processor time of the whole process, the best of five: another load on the machine does not count."""
    times = []
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-m", "medprior", stage, "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times.append(usage.ru_utime + usage.ru_stime)
    assert min(times) <= MAX_HELP_SECONDS
