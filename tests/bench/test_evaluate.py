import pytest

from medprior.bench import evaluate


@pytest.mark.slow
def test_bench_is_faster_than_scikit_learn(capsys):
    evaluate.main()
    lines = capsys.readouterr().out.splitlines()
    assert "medprior" in lines[1]
    assert float(lines[-1].split()[-2]) > 10
