"""Every way to keep pictures gives back what it was given; the bench prints its table."""

import numpy as np

from medprior.bench import cohort
from medprior.bench.cohort_formats import list_formats
from tests.conftest import phantom_cohort_at

PICTURES = np.random.default_rng(0).integers(0, 65536, (6, 20, 30)).astype(np.uint16)


def test_the_table_has_a_line_for_every_way(monkeypatch, capsys):
    monkeypatch.setattr(cohort, "load_bench_pictures", lambda *_: PICTURES)
    for name, value in {"READ_COUNT": 6, "REMOTE_READ_COUNT": 3, "ROUNDS": 1}.items():
        monkeypatch.setattr(cohort, name, value)
    cohort.main()
    printed = capsys.readouterr().out
    for way in list_formats():
        assert f"\n{way.name}" in printed
    if cohort.importlib.util.find_spec("moto"):
        assert "not measured\n" not in printed


def test_a_rate_is_shown_with_its_range_where_it_was_measured_often():
    timing = cohort.FormatTiming(10.0)
    for rate in (5.0, 3.0, 4.0):
        timing.add("warm", rate)
    timing.add("s3", 7.0)
    assert cohort.format_rate_range(timing.rates["warm"]) == "4 [3, 5]"
    assert cohort.format_rate_range(timing.rates["s3"]) == "7"
    assert cohort.format_rate_range([]) == "not measured"


def test_pictures_of_a_given_cohort_are_used(tmp_path, monkeypatch):
    opened = phantom_cohort_at(tmp_path / "cohort", 3, size=64)
    monkeypatch.setenv("MEDPRIOR_BENCH_COHORT", str(opened))
    pictures = cohort.load_bench_pictures(tmp_path / "scratch", 2, 32)
    assert (pictures.shape, pictures.dtype) == ((2, 32, 32), np.uint16)
    assert not (tmp_path / "scratch").exists()
    assert cohort.measure_read_rate(pictures.__getitem__, [0, 1, 0]) > 0
