"""Contours of every segmenter on the same images."""

import numpy as np
from PIL import Image

from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.report.segmentation_figure import plot_segmentation
from tests.evaluate.untrained import build_untrained_model


def test_a_row_for_each_model_even_if_it_lacks_a_structure(tmp_path, cohort, saved_figures):
    """The first model's structures that the cohort has masks of; 2.6 inches a row and 2.3 a column."""
    models = [
        NamedInput("both", None, build_untrained_model(["spine", "heart", "left_lung"], task="segmentation")),
        NamedInput("one", None, build_untrained_model(["heart"], task="segmentation")),
    ]
    dice = np.linspace(0, 1, len(cohort))
    figure = plot_segmentation(tmp_path / "s.png", models, cohort, dice, {"best": 5, "worst": 1})
    with Image.open(figure.path) as picture:
        assert picture.size == (690, 900)
    axes = np.array(saved_figures[0].axes).reshape(2, 2)
    assert [axis.get_title() for axis in axes[0]] == [f"best, Dice {dice[5]:.3f}", f"worst, Dice {dice[1]:.3f}"]
    assert [axis.get_title() for axis in axes[1]] == ["", ""]
    assert [line[0].get_ylabel() for line in axes] == ["both", "one"]
    squares = cohort.select([cohort.image_ids[5], cohort.image_ids[1]]).squares(48)
    for line in axes:
        for axis, square in zip(line, squares, strict=True):
            np.testing.assert_array_equal(axis.images[0].get_array(), square)
            assert len(axis.collections) >= 2  # the true contours of heart and left lung, which both images have
    assert [text.get_text() for text in saved_figures[0].legends[0].get_texts()] == ["heart", "left lung"]
