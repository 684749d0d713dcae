"""Curves of what was recorded while training."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.report.training_figure import (
    load_training_curves,
    plot_training_curves,
    plot_training_quantity,
)


@pytest.fixture
def runs(tmp_path):
    texts = {
        "first": "step,loss,teacher_entropy,lr,constant\n10,5.0,,0.1,1\n20,4.0,1.9,0.2,1\n",
        "second": "epoch,loss\n1,3.0\n2,2.0\n",
    }
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(text)
    return [NamedInput(name, tmp_path / name, None) for name in (*texts, "unrecorded")]


def test_results_without_a_record_are_left_out(runs):
    assert list(load_training_curves(runs)) == ["first", "second"]


def test_each_run_is_over_its_own_steps_and_gaps_are_left_out(runs):
    tables = load_training_curves(runs)
    axis = Figure().subplots()
    plot_training_quantity(axis, "loss", tables)
    assert [line.get_xydata().tolist() for line in axis.lines] == [[[10, 5], [20, 4]], [[1, 3], [2, 2]]]
    entropy = Figure().subplots()
    plot_training_quantity(entropy, "teacher_entropy", tables)
    assert [line.get_xydata().tolist() for line in entropy.lines] == [[[20, 1.9]]]
    assert entropy.get_title() == "teacher entropy (nats)"
    assert entropy.get_xlabel() == "step"


def test_what_is_constant_or_hidden_is_no_panel(tmp_path, runs):
    figure = plot_training_curves(tmp_path / "t.png", "backbone", runs)
    assert figure.path.is_file()
    assert figure.title == "Training of the backbones"
    assert "first, second" in figure.caption
    pd.DataFrame({"step": [1, 2], "lr": [0.1, 0.2], "loss": [3, 3]}).to_csv(runs[0].path / "metrics.csv", index=False)
    assert plot_training_curves(tmp_path / "none.png", "backbone", runs[:1]) is None
    assert plot_training_curves(tmp_path / "none.png", "backbone", []) is None
