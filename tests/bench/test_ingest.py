"""The benches run, on small numbers, and say what they promise."""

import re

import pytest

from medprior.bench import ingest


def test_a_finished_cohort_is_skipped_and_not_read_again(tmp_path):
    """Side by side, whatever the machine is busy with; the bench prints files a second."""
    first, again = ingest.measure_skip_rate(tmp_path, 1000)
    assert again > 2 * first


@pytest.mark.slow
def test_the_bench_prints_all_its_lines(tmp_path, monkeypatch, capsys):
    for name, value in {"FILE_COUNT": 6, "IMAGE_SIDE_PX": 64, "ROUNDS": 1, "RERUN_FILES": 20}.items():
        monkeypatch.setattr(ingest, name, value)
    monkeypatch.setenv("MEDPRIOR_BENCH_FOLDER", str(tmp_path))
    ingest.main()
    said = capsys.readouterr().out
    peers = ("medprior ingest", "pydicom", "MONAI", "SimpleITK", "again")
    for words in (*peers, "bare decode alone", "bare decode in 2 processes at once"):
        assert words in said
    assert re.search(r"medprior reaches \d", said)
