"""A large synthetic cohort takes little disk, and its start and loading are measured."""

import re

import numpy as np
import pytest

from medprior.bench.pretrain_start import print_start_and_loading, write_sparse_array
from medprior.cli import main


@pytest.mark.slow
def test_start_and_loading_are_printed(monkeypatch, capsys):
    monkeypatch.setattr("medprior.bench.pretrain_start.TIMED_BATCHES", 1)
    monkeypatch.setattr("medprior.bench.pretrain_start.ROUNDS", 2)
    print_start_and_loading(300, 32)
    lines = capsys.readouterr().out.strip().splitlines()
    starts = [re.search(r"first step after (\d+\.\d) s .* peak (\d\.\d\d) GiB", line) for line in lines[:2]]
    assert all(float(match[1]) > 0 and 0.1 < float(match[2]) < 4 for match in starts)
    rates = [float(re.search(r": (\d+) \[\d+, \d+\] images/s", line)[1]) for line in lines[2:]]
    assert len(rates) == 2
    assert min(rates) > 0


def test_options_are_checked(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "pretrain", "--images", "many"])
    assert stop.value.code == 2
    assert "--images" in capsys.readouterr().err


def test_a_sparse_array_is_of_full_size_and_takes_little_disk(tmp_path):
    write_sparse_array(tmp_path / "a.npy", np.dtype(np.uint16), (1024, 64, 64))
    array = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert array.shape == (1024, 64, 64)
    assert array[64].any()
    assert not array[65].any()
    assert (tmp_path / "a.npy").stat().st_blocks * 512 < 2**20
