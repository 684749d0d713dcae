"""Every peer reads every file."""

import io
import shutil

import pytest

from medprior.bench import ingest, ingest_peers


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Four small DICOM phantoms; do not write into the folder."""
    folder = tmp_path_factory.mktemp("phantoms") / "in"
    ingest.create_phantoms(folder, 4, 64)
    return folder


@pytest.mark.parametrize("name", ["pydicom", "simpleitk", "decode", "radiograph"])
def test_every_contender_reads_every_file(phantoms, name):
    timing = ingest_peers.time_loop(name, phantoms)
    assert timing["files"] == 4
    assert timing["failed"] == 0
    assert timing["cpu"] > 0


def test_unreadable_files_are_counted_and_do_not_end_the_loop(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "in")
    (tmp_path / "in" / "zzz.dcm").write_bytes(b"no radiograph")
    timing = ingest_peers.time_loop("radiograph", tmp_path / "in")
    assert (timing["files"], timing["failed"]) == (5, 1)


def test_a_waiting_loop_starts_when_told_at_the_file_it_is_told(phantoms, monkeypatch, capsys):
    read = []
    monkeypatch.setitem(ingest_peers.LOOP_FACTORIES, "listed", lambda: read.append)
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
    assert ingest_peers.time_loop("listed", phantoms, wait=True)["files"] == 4
    assert capsys.readouterr().out == "ready\n"
    # The first is read once to warm up.
    first, *others = sorted(phantoms.rglob("*.dcm"))
    assert read == [first, *others, first]
