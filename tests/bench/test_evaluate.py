import numpy as np
import pytest

from medprior.bench import evaluate
from medprior.metrics.auc import compute_auc


@pytest.mark.slow
def test_bench_is_faster_than_scikit_learn(capsys):
    evaluate.main()
    lines = capsys.readouterr().out.splitlines()
    assert "medprior" in lines[1]
    assert float(lines[-1].split()[-2]) > 10


def test_scores_have_the_prevalences_and_tell_the_sick():
    truth, score, patients = evaluate.simulate_scores()
    assert truth.shape == score.shape == (evaluate.IMAGES, 14)
    np.testing.assert_allclose(truth.mean(0), evaluate.PREVALENCE, atol=0.01)
    assert (patients.min(), patients.max()) == (0, evaluate.PATIENTS - 1)
    # Two normal scores a standard deviation apart: AUC = Phi(1 / sqrt 2).
    assert compute_auc(truth[:, 3], score[:, 3]) == pytest.approx(0.760, abs=0.01)
    np.testing.assert_array_equal(evaluate.simulate_scores()[1], score)


def test_the_time_of_few_resamples_stands_for_that_of_all(monkeypatch):
    monkeypatch.setattr(evaluate, "IMAGES", 60)
    monkeypatch.setattr(evaluate, "PATIENTS", 40)
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 1)) < 0.5).astype(float)
    clock = iter([1.0, 1.5])
    monkeypatch.setattr(evaluate.time, "process_time", lambda: next(clock))
    seconds = evaluate.time_sklearn(truth, rng.random((60, 1)), rng.integers(0, 40, 60))
    assert seconds == pytest.approx(0.5 * 1000 / 3)
