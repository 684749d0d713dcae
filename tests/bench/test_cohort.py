"""Every way to keep pictures gives back what it was given; the bench prints its table."""

import numpy as np

from medprior.bench import cohort
from medprior.bench.cohort_formats import list_formats

PICTURES = np.random.default_rng(0).integers(0, 65536, (6, 20, 30)).astype(np.uint16)


def test_the_table_has_a_line_for_every_way(monkeypatch, capsys):
    monkeypatch.setattr(cohort, "load_bench_pictures", lambda *_: PICTURES)
    for name, value in {"READ_COUNT": 6, "REMOTE_READ_COUNT": 3, "ROUNDS": 1}.items():
        monkeypatch.setattr(cohort, name, value)
    cohort.main()
    said = capsys.readouterr().out
    for way in list_formats():
        assert f"\n{way.name}" in said
    if cohort.importlib.util.find_spec("moto"):
        assert "not measured\n" not in said
