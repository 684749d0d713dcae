import pytest

from medprior.bench import command
from medprior.cli import main


def test_bench_refuses_an_unknown_room(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "kitchen"])
    assert stop.value.code == 2
    assert "evaluate" in command.BENCH_MODULES


def test_bench_hands_on_what_a_room_takes(capsys):
    assert main(["bench", "evaluate", "cohort"]) == 2
    assert "takes no arguments" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["bench", "prior", "cohort", "--split", "nowhere"])
    assert "nowhere" in capsys.readouterr().err
