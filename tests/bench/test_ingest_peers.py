"""Every peer reads every file."""

import pytest

from medprior.bench import ingest, ingest_peers


@pytest.mark.parametrize("name", ["pydicom", "simpleitk", "decode", "radiograph"])
def test_every_contender_reads_every_file(tmp_path, name):
    ingest.create_phantoms(tmp_path / "in", 4, 64)
    said = ingest_peers.time_loop(name, tmp_path / "in")
    assert said["files"] == 4
    assert said["failed"] == 0
    assert said["cpu"] > 0
