"""Contours of every segmenter on the same images."""

import numpy as np
from PIL import Image

from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.report.segmentation_figure import plot_segmentation
from tests.evaluate.untrained import build_untrained_model


def test_a_row_for_each_model_even_if_it_lacks_a_structure(tmp_path, cohort):
    """The first model's structures that the cohort has masks of; 2.6 inches a row and 2.3 a column."""
    models = [
        NamedInput("both", None, build_untrained_model(["spine", "heart", "left_lung"], task="segmentation")),
        NamedInput("one", None, build_untrained_model(["heart"], task="segmentation")),
    ]
    dice = np.linspace(0, 1, len(cohort))
    figure = plot_segmentation(tmp_path / "s.png", models, cohort, dice, {"best": 5, "worst": 1})
    with Image.open(figure.path) as picture:
        assert picture.size == (690, 900)
