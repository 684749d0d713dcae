"""Where a registered version lies on disk, and a process that knows only its address."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from medprior.tracking import mlflow_store


def find_stored_version(uri: str, name: str = "cxr", version: str = "1") -> Path:
    """Folder of a registered version in the artifact store."""
    client = mlflow_store.connect_to_store(uri)
    source = client.get_logged_model(client.get_model_version(name, version).source.split("/")[-1])
    return Path(source.artifact_location.removeprefix("file://"))


def run_in_clean_process(code: str, folder: Path, *arguments: str, **environment: str) -> str:
    """What a fresh Python process prints that runs `code` in `folder`."""
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout
