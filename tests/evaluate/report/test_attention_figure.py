"""Which images and maps are shown, and how bright."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from medprior.evaluate.localisation.scoring import Localisation
from medprior.evaluate.report.attention_figure import (
    PANEL_SIZE_PX,
    format_map_title,
    plot_attention_maps,
    plot_contours,
    plot_radiograph,
    scale_attention,
    select_best_median_worst,
    select_shown_maps,
)
from tests.evaluate.localisation.drawn_maps import NoisyMasks


def choose(**chosen):
    return Localisation(chosen, {}, {}, {}, {}, {}, {})


def test_cases_are_the_best_the_median_and_the_worst_of_the_known():
    scores = np.array([0.2, np.nan, 0.9, 0.5, 0.4])
    assert select_best_median_worst(scores) == {"best": 2, "median": 4, "worst": 0}
    assert select_best_median_worst(np.array([0.5, 0.5, 0.5])) == {"best": 0, "median": 1, "worst": 2}
    assert select_best_median_worst(np.array([np.nan, 0.1])) == {"best": 1, "median": 1, "worst": 1}
    assert select_best_median_worst(np.array([np.nan])) == {}


def test_chosen_maps_are_shown_first_and_eight_at_most():
    localisation = choose(lungs=(5, 2), heart=(2,))
    assert select_shown_maps(SimpleNamespace(count=12), localisation) == [5, 2, 0, 1, 3, 4, 6, 7]
    assert select_shown_maps(SimpleNamespace(count=3), choose(heart=(1,))) == [1, 0, 2]


def test_a_map_is_titled_with_all_it_is_chosen_for():
    localisation = choose(left_lung=(5, 2), heart=(2,))
    assert format_map_title(2, localisation) == "head 2\nleft lung, heart"
    assert format_map_title(5, localisation) == "head 5\nleft lung"
    assert format_map_title(0, localisation) == "head 0\n(free)"


@pytest.mark.parametrize(("heat", "peak"), [(np.ones((4, 4)), 0.0), (np.eye(4), 1.0), (np.zeros((4, 4)), 0.0)])
def test_an_even_map_tints_nothing_and_a_focus_is_bright(heat, peak):
    axis = Figure().subplots()
    plot_radiograph(axis, np.zeros((4, 4)), heat, 1.0)
    assert axis.images[1].get_array().max() == pytest.approx(peak)
    assert [image.get_clim() for image in axis.images] == [(0, 1), (0, 1)]
    assert np.max(axis.images[1].get_alpha()) == pytest.approx(0.65 * peak)


def test_attention_is_shown_from_its_mean_to_its_maximum_or_three_means():
    """Mean 2; full brightness at three times that where the maximum is lower, else at the maximum."""
    np.testing.assert_allclose(scale_attention(np.array([[0.0, 1], [2, 5]])), [[0, 0], [0, 0.75]])
    np.testing.assert_allclose(scale_attention(np.array([[0.0, 0, 0], [0, 2, 10]])), [[0, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(scale_attention(np.array([[0.0, 0, 0], [0, 5, 7]])), [[0, 0, 0], [0, 0.6, 1]])


def test_a_radiograph_has_its_true_aspect():
    axis = Figure().subplots()
    plot_radiograph(axis, np.zeros((4, 4)), None, 0.8)
    assert len(axis.images) == 1
    assert list(axis.images[0].get_extent()) == [0.0, 0.8, 1.0, 0.0]
    assert not [spine for spine in axis.spines.values() if spine.get_visible()]


def test_contours_lie_on_the_stretched_square_and_empty_masks_have_none():
    axis = Figure().subplots()
    masks = np.zeros((3, 10, 10), dtype=bool)
    masks[0, 2:4, 6:9], masks[2] = True, True
    plot_contours(axis, masks, ["heart", "left_lung", "right_lung"], 2.0)
    (lines,) = axis.collections
    points = np.concatenate([path.vertices for path in lines.get_paths()])
    # Half way between pixel centres: columns 6 to 8 of ten on a width of two.
    np.testing.assert_allclose([points[:, 0].min(), points[:, 0].max()], [1.2, 1.8])
    np.testing.assert_allclose([points[:, 1].min(), points[:, 1].max()], [0.2, 0.4])


def test_maps_of_a_backbone_are_drawn(tmp_path, cohort, saved_figures):
    source = NoisyMasks(["heart", "left_lung"], assigned=["heart", "left_lung"])
    ap = {"heart": np.linspace(0, 1, 6)}
    localisation = Localisation({"heart": (0,)}, {}, {}, ap, {}, {}, {})
    part, cases = cohort.take(6, 0), {"best": 5, "worst": 0}
    targets = {"heart": ("heart",)}
    figure = plot_attention_maps(tmp_path / "a.png", "span", part, targets, source, localisation, cases)
    assert figure.path.is_file()
    assert "span" in figure.caption
    assert saved_figures[0].get_size_inches().tolist() == pytest.approx([1.15 * 3 + 0.4, 1.35 * 2 + 0.7])
    axes = np.array(saved_figures[0].axes).reshape(2, 1 + source.count)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["best\nAP 1.00", "worst\nAP 0.00"]
    assert [axis.get_title() for axis in axes[0, :3]] == ["radiograph", "head 0\nheart", "head 1\n(free)"]
    assert [[len(axis.images) for axis in line] for line in axes] == [[1] + [2] * source.count] * 2
    squares = part.select([part.image_ids[5], part.image_ids[0]]).squares(PANEL_SIZE_PX)
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), squares[0])
    np.testing.assert_array_equal(axes[1, 1].images[0].get_array(), squares[1])
