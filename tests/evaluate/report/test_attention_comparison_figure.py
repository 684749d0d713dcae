"""Which maps of which backbone are drawn beside each other, and what is said of them."""

import numpy as np
import pytest

from medprior.evaluate.localisation.scoring import localise_structures
from medprior.evaluate.report.attention_comparison_figure import plot_attention_comparison
from medprior.evaluate.report.attention_figure import PANEL_SIZE_PX
from tests.evaluate.localisation.drawn_maps import SIZE, NoisyMasks

TARGETS = {"heart": ("heart",), "left_lung": ("left_lung",)}


def localise(cohort, **sources):
    test, val = cohort.split("test"), cohort.split("val")
    return test, {name: localise_structures(source, test, val, TARGETS, SIZE) for name, source in sources.items()}


def arrange_panels(figure, rows):
    return np.array(figure.axes).reshape(rows, -1)


@pytest.fixture(scope="module")
def sources():
    """One backbone with assigned heads, and one whose heads lie in another order and are chosen on validation."""
    return {
        "SPAN": NoisyMasks(["heart", "left_lung"], assigned=["heart", "left_lung"]),
        "DINO": NoisyMasks(["right_lung", "left_lung", "heart"]),
    }


@pytest.fixture
def drawn(tmp_path, cohort, sources, saved_figures):
    test, localisations = localise(cohort, **sources)
    figure = plot_attention_comparison(tmp_path / "a.png", test, TARGETS, sources, localisations, 3)
    return figure, test, localisations, arrange_panels(saved_figures[0], 2)


def test_each_row_names_its_backbone_and_each_panel_its_head_and_score(drawn):
    figure, _, localisations, panels = drawn
    assert figure.path.is_file()
    assert [axis.get_ylabel() for axis in panels[:, 0]] == ["SPAN", "DINO"]
    heads = {"SPAN": (0, 1), "DINO": (2, 1)}
    for line, (name, numbers) in zip(panels, heads.items(), strict=True):
        scores = [localisations[name].ap[target][3] for target in TARGETS]
        assert [axis.get_title() for axis in line[1:]] == [
            f"heart: AP {scores[0]:.2f}\nhead {numbers[0]}", f"left lung: AP {scores[1]:.2f}\nhead {numbers[1]}",
        ]  # fmt: skip


def test_both_rows_show_the_same_image_and_each_its_own_map(drawn, sources):
    _, test, _, panels = drawn
    image = test.select([test.image_ids[3]])
    for line, (source, head) in zip(panels, ((sources["SPAN"], 0), (sources["DINO"], 2)), strict=True):
        np.testing.assert_array_equal(line[0].images[0].get_array(), image.squares(PANEL_SIZE_PX)[0])
        assert len(line[0].images) == 1
        (maps,) = source.batches(image, PANEL_SIZE_PX)
        mean, peak = maps[0, head].mean(), maps[0, head].max()
        heat = np.maximum(maps[0, head] - mean, 0) / (max(peak, 3 * mean) - mean)
        np.testing.assert_allclose(line[1].images[1].get_array(), heat, rtol=1e-5, atol=1e-7)
    assert [len(axis.collections) for axis in panels[0]] == [2, 1, 1]


def test_the_caption_says_how_heads_were_chosen_where_they_were(drawn, tmp_path, cohort, sources, saved_figures):
    assert "validation" in drawn[0].caption
    span = {"SPAN": sources["SPAN"]}
    test, localisations = localise(cohort, **span)
    alone = plot_attention_comparison(tmp_path / "b.png", test, TARGETS, span, localisations, 0)
    assert "validation" not in alone.caption


def test_a_backbone_without_a_map_of_a_structure_leaves_its_panel_empty(tmp_path, cohort, sources, saved_figures):
    few = NoisyMasks(["left_lung"], assigned=["left_lung"], has_selectable_maps=False)
    both = {"few": few, "SPAN": sources["SPAN"]}
    test, localisations = localise(cohort, **both)
    plot_attention_comparison(tmp_path / "a.png", test, TARGETS, both, localisations, 0)
    visible = [[axis.get_visible() for axis in line] for line in arrange_panels(saved_figures[0], 2)]
    assert visible == [[True, False, True], [True, True, True]]
