"""`medprior STAGE --help` imports no large library."""

import subprocess
import sys

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
