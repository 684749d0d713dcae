"""The benches run, on small numbers, and say what they promise."""

import re

import pytest

from medprior.bench import ingest
from medprior.cli import main


def test_a_finished_cohort_is_skipped_and_not_read_again(tmp_path):
    """Side by side, whatever the machine is busy with; the bench prints files a second."""
    first, again = ingest.measure_skip_rate(tmp_path, 1000)
    assert again > 2 * first


@pytest.mark.slow
def test_the_bench_prints_all_its_lines(tmp_path, monkeypatch, capsys):
    for name, value in {"IMAGE_SIDE_PX": 64, "RERUN_FILES": 20}.items():
        monkeypatch.setattr(ingest, name, value)
    monkeypatch.setenv("MEDPRIOR_BENCH_FOLDER", str(tmp_path))
    main(["bench", "ingest", "--images", "6", "--rounds", "1"])
    printed = capsys.readouterr().out
    peers = ("medprior ingest", "pydicom", "MONAI", "SimpleITK", "again")
    for words in (*peers, "bare decode alone", "bare decode in 2 processes at once"):
        assert words in printed
    assert re.search(r"medprior reaches \d", printed)
    assert "6 phantoms of 64 rows, five syntaxes; 1 rounds" in printed
    assert len(list((tmp_path / "phantoms-64-6" / "dicom").rglob("*.dcm"))) == 6


def round_of(seconds, decode, parallel):
    """One round in which medprior takes `seconds` and every other reader twice as long."""
    names = ("decode", "radiograph", "pydicom", "monai", "simpleitk")
    return ingest.RoundTimes(
        elapsed={"medprior": seconds, **dict.fromkeys(names, 2 * seconds)},
        cpu={"medprior": 2 * decode + 0.2, **dict.fromkeys(names, decode)},
        failed={"pydicom": 0, "monai": 3, "simpleitk": 0},
        parallel_decode=parallel,
        one_image=0.1,
    )


def test_the_report_compares_within_each_round(monkeypatch, capsys):
    monkeypatch.setattr(ingest.os, "cpu_count", lambda: 8)
    rounds = [round_of(10.0, 4.0, 8.0), round_of(20.0, 8.0, 12.0), round_of(40.0, 16.0, 16.0)]
    ingest.print_ingest_report(rounds, 100)
    lines = {line[:38].strip(): line[38:].split("   ") for line in capsys.readouterr().out.splitlines()[2:] if line}
    assert lines["medprior ingest, 2 workers, all of it"][-1].strip() == "5.0 [2.5, 10.0]"
    assert "2.00 [2.00, 2.00]" in lines["SimpleITK ReadImage"][-1]
    assert "(3 files not read)" in "   ".join(lines["MONAI LoadImage (PydicomReader)"])
    # Two cores would decode 100 files in half of 8 s, a fifth of the 20 s that medprior takes.
    bound = lines["2 cores x bare decode alone"]
    assert bound[-2].strip() == "25.0 [12.5, 50.0]"
    assert bound[-1] == "medprior reaches 0.20 [0.20, 0.20]"
    assert lines["bare decode in 2 processes at once"][-1] == "medprior reaches 0.30 [0.20, 0.40]"
    assert lines["pydicom loop"][-1].strip() == "80.0 [40.0, 160.0]"
    # In the second round 16.2 s: 0.1 for a run over one image, 8 to make 100 images ready for display.
    assert lines["ingest beyond display-ready and start"][-1].strip() == "81.0 [41.0, 161.0]"
    assert lines["start and end of a run, s"][-1].strip() == "0.10 [0.10, 0.10]"


def test_a_range_is_the_median_between_the_extremes():
    assert ingest.format_median_range([3.0, 1.0, 2.0, 8.0], ".1f") == "2.5 [1.0, 8.0]"
