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


def test_panels_are_three_in_a_row_and_nine_at_most(tmp_path, saved_figures):
    for count, shape, size in ((2, (1, 2), (5.2, 2.4)), (4, (2, 3), (7.8, 4.4)), (12, (3, 3), (7.8, 6.4))):
        table = pd.DataFrame({"epoch": [1, 2]} | {f"q_{number}": [number, 0.5] for number in range(count)})
        table.to_csv(tmp_path / "metrics.csv", index=False)
        plot_training_curves(tmp_path / "t.png", "model", [NamedInput("run", tmp_path, None)])
        saved = saved_figures[-1]
        shown = [axis for axis in saved.axes if axis.get_visible()]
        assert [axis.get_title() for axis in shown] == [f"q {number}" for number in range(min(count, 9))]
        assert saved.axes[0].get_subplotspec().get_gridspec().get_geometry() == shape
        assert saved.get_size_inches().tolist() == pytest.approx(size)
        assert [text.get_text() for text in saved.legends[0].get_texts()] == ["run"]


def test_a_table_without_steps_is_over_its_rows(tmp_path):
    table = pd.DataFrame({"loss": [3.0, 2.0]})
    axis = Figure().subplots()
    plot_training_quantity(axis, "loss", {"run": table})
    assert axis.lines[0].get_xydata().tolist() == [[0, 3], [1, 2]]
    assert axis.get_xlabel() == "row"


def test_what_is_constant_or_hidden_is_no_panel(tmp_path, runs):
    figure = plot_training_curves(tmp_path / "t.png", "backbone", runs)
    assert figure.path.is_file()
    assert figure.title == "Training of the backbones"
    assert "first, second" in figure.caption
    pd.DataFrame({"step": [1, 2], "lr": [0.1, 0.2], "loss": [3, 3]}).to_csv(runs[0].path / "metrics.csv", index=False)
    assert plot_training_curves(tmp_path / "none.png", "backbone", runs[:1]) is None
    assert plot_training_curves(tmp_path / "none.png", "backbone", []) is None
