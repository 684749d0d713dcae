"""Rank and number of processes, as torchrun tells them."""

import pytest

from medprior.workers.launched import read_launched_processes


@pytest.mark.parametrize(
    ("rank", "size", "expected"),
    [("1", "4", (1, 4)), ("0", "1", (0, 1)), (None, "4", (0, 1)), ("1", None, (0, 1)), ("x", "4", (0, 1))],
)
def test_both_variables_make_a_launch(rank, size, expected, monkeypatch):
    for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert read_launched_processes() == expected
