"""kill -9 at any moment, start again: the same bytes as a run that was never disturbed."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_ingesting import fill, tree


def command(folder, cohort):
    arguments = [str(folder), str(cohort), "--workers", "2", "--store-size", "64", "--no-tracking"]
    return subprocess.Popen(
        [sys.executable, "-m", "medprior", "ingest", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def content(cohort):
    """Every file's bytes; of `config.json` all but the commit of the checkout, which may move."""
    files = tree(cohort)
    config = json.loads(files["config.json"])
    return files | {"config.json": config | {"git_commit": ""}}


def kills(tmp_path, rounds, files):
    folder = fill(tmp_path / "in", files)
    whole = command(folder, tmp_path / "whole")
    start = time.monotonic()
    assert whole.wait() == 0, whole.stderr.read()
    whole.stderr.close()
    length = time.monotonic() - start
    expected = content(tmp_path / "whole")
    rng = np.random.default_rng(0)
    landed = 0
    for number in range(rounds):
        cohort = tmp_path / f"c{number}"
        for _ in range(3):
            process = command(folder, cohort)
            time.sleep(rng.uniform(0.3, 1.0) * length)
            landed += process.poll() is None
            os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
            process.wait()
            process.stderr.close()
        last = command(folder, cohort)
        assert last.wait() == 0, last.stderr.read()
        last.stderr.close()
        assert content(cohort) == expected
    assert landed


def test_one_cohort_killed_three_times(tmp_path):
    kills(tmp_path, 1, 24)


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    kills(tmp_path, 17, 300)
