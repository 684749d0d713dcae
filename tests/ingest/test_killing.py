"""kill -9 at any moment, start again: the same bytes as a run that was never disturbed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.ingest.test_ingesting import fill, tree


def command(folder, cohort, largest_file=None):
    def limit():
        # A file may not grow beyond this: the writer fails as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    arguments = [str(folder), str(cohort), "--workers", "2", "--store-size", "64", "--no-tracking"]
    return subprocess.Popen(
        [sys.executable, "-m", "medprior", "ingest", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=limit if largest_file else None,
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


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    folder = fill(tmp_path / "in", 12)
    for name, limit in (("whole", None), ("full", 50_000), ("full", None)):
        process = command(folder, tmp_path / name, limit)
        process.wait()
        error = process.stderr.read().decode()
        process.stderr.close()
        assert process.returncode == (2 if limit else 0), error
        assert ("the disk is full" in error) == bool(limit)
        assert "Traceback" not in error
    assert content(tmp_path / "full") == content(tmp_path / "whole")


def test_one_cohort_killed_three_times(tmp_path):
    kills(tmp_path, 1, 24)


@pytest.mark.slow
def test_fifty_kills(tmp_path):
    kills(tmp_path, 17, 300)
