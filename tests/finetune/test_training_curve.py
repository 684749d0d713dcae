from matplotlib.figure import Figure
from PIL import Image

from medprior.finetune import training_curve

ROWS = [
    {"epoch": 1.0, "train_loss": 0.9, "val_loss": 0.8, "val_mean_dice": 0.3, "lr": 1.0},
    {"epoch": 2.0, "train_loss": 0.5, "val_loss": 0.6, "val_mean_dice": 0.7, "lr": 1.0},
]


def test_losses_and_key_metric_are_drawn_by_epoch_with_the_kept_one_marked(tmp_path, monkeypatch):
    figures = []

    class RecordedFigure(Figure):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            figures.append(self)

    monkeypatch.setattr(training_curve, "Figure", RecordedFigure)
    training_curve.plot_training_curve(tmp_path / "curve.png", ROWS, 2)
    left, right = figures[0].axes
    curves = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in left.lines}
    assert curves == {
        "train loss": ([1, 2], [0.9, 0.5]), "val loss": ([1, 2], [0.8, 0.6]), "kept: epoch 2": ([2, 2], [0, 1]),
    }  # fmt: skip
    assert left.lines[0].get_linestyle() != left.lines[1].get_linestyle(), "distinguishable without colour"
    assert [text.get_text() for text in left.get_legend().get_texts()] == list(curves)
    assert list(right.lines[0].get_ydata()) == [0.3, 0.7]
    assert list(right.lines[1].get_xdata()) == [2, 2]
    assert right.get_ylabel() == "mean dice (validation)"
    with Image.open(tmp_path / "curve.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (840, 360))
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"], "no temporary file is left"
