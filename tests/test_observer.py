"""Progress in a log file is a line now and then, not one a step."""

import subprocess
import sys

from medprior.observer import NullObserver

PROGRAM = """
import time
from medprior.observer import progress_bar
for _ in progress_bar(range(300), desc="steps"):
    time.sleep(0.001)
"""


def test_a_log_file_gets_the_first_and_the_last_line():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    lines = [line for line in done.stderr.split("\r") if line.strip()]
    assert 1 <= len(lines) <= 3, lines
    assert "300/300" in lines[-1]


def test_reports_to_nobody_are_dropped(tmp_path):
    observer = NullObserver()
    observer.params({"a": 1})
    observer.metrics({"loss": float("nan")}, step=0)
    observer.artifact(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
