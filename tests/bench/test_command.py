import pytest

from medprior.bench import command, evaluate
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


@pytest.mark.slow
def test_bench_is_faster_than_scikit_learn(capsys):
    evaluate.main()
    lines = capsys.readouterr().out.splitlines()
    assert "medprior" in lines[1]
    assert float(lines[-1].split()[-2]) > 10
