"""Every peer reads every file."""

import json
import subprocess
import sys

import pytest

from medprior.bench import ingest, ingest_peers


@pytest.mark.parametrize("name", ["pydicom", "simpleitk", "decode", "radiograph"])
def test_every_contender_reads_every_file(tmp_path, name):
    ingest.create_phantoms(tmp_path / "in", 4, 64)
    said = ingest_peers.time_loop(name, tmp_path / "in")
    assert said["files"] == 4
    assert said["failed"] == 0
    assert said["cpu"] > 0


def test_unreadable_files_are_counted_and_do_not_end_the_loop(tmp_path):
    ingest.create_phantoms(tmp_path / "in", 2, 64)
    (tmp_path / "in" / "zzz.dcm").write_bytes(b"no radiograph")
    timing = ingest_peers.time_loop("radiograph", tmp_path / "in")
    assert (timing["files"], timing["failed"]) == (3, 1)


def test_a_waiting_loop_starts_when_told_at_the_file_it_is_told(tmp_path):
    ingest.create_phantoms(tmp_path / "in", 3, 64)
    command = [sys.executable, "-m", "medprior.bench.ingest_peers", "simpleitk", str(tmp_path / "in"), "wait"]
    done = subprocess.run(command, input="2\n", capture_output=True, text=True, check=True)
    ready, result = done.stdout.splitlines()
    assert ready == "ready"
    assert (json.loads(result)["files"], json.loads(result)["failed"]) == (3, 0)
