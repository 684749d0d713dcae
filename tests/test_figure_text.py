"""Names in any script: no warning of a missing glyph, and no two names alike in a figure."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from medprior.annotate.preview import save_mask_preview
from medprior.evaluate.report.style import open_figure
from medprior.figure_text import escape_figure_text, escape_missing_glyphs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("left lung", "left lung"), ("Herz, größer", "Herz, größer"), ("сердце", "сердце"), ("心", "\\u5fc3"),
        ("肺 1\nb", "\\u80ba 1\nb"), ("\U0001fac1", "\\U0001fac1"), ("", ""),
    ],
)  # fmt: skip
def test_characters_that_the_font_lacks_are_escaped(text, expected):
    assert escape_missing_glyphs(text) == expected


def test_every_text_of_a_figure_is_escaped(tmp_path):
    figure = Figure()
    axis = figure.subplots()
    axis.set_title("心")
    axis.set_yticks([0.2, 0.7], ["肺", "heart"])
    axis.plot([0, 1], label="肝")
    axis.legend()
    figure.suptitle("脾")
    escape_figure_text(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "a.png")
    assert [label.get_text() for label in axis.get_yticklabels()] == ["\\u80ba", "heart"]
    assert axis.get_yticks().tolist() == [0.2, 0.7]
    texts = (axis.get_title(), axis.get_legend().get_texts()[0].get_text(), figure.get_suptitle())
    assert texts == ("\\u5fc3", "\\u809d", "\\u813e")


def test_previews_and_reports_do_not_warn(tmp_path, saved_figures):
    mask = np.zeros((64, 48), bool)
    mask[20:40, 10:30] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_mask_preview(np.zeros((64, 48), np.float32), {"心臓": mask, "肺": ~mask}, tmp_path / "a.png")
        with open_figure(tmp_path / "b.png", 1, 1, 3, 3) as (_, axes):
            axes[0, 0].set_xlabel("心臓")
    preview, report = saved_figures
    assert {"\\u5fc3\\u81d3", "\\u80ba"} <= {text.get_text() for text in preview.axes[0].texts}
    assert len(preview.axes[0].collections) == 2
    assert report.axes[0].get_xlabel() == "\\u5fc3\\u81d3"
