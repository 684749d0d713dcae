"""R and L on radiographs: R on the picture's left, both upright, in every picture that is written."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageFont

from medprior.annotate.page.rendering import overlay_map_contours
from medprior.deploy.inference.overlays import render_native_overlay, render_overlay
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.dicom.derived.native_grid import NativeGrid
from medprior.dicom.radiograph import Radiograph
from medprior.evaluate.report.attention_figure import plot_radiograph
from medprior.priors.prior_figure import plot_prior_panel
from medprior.side_markers import draw_side_markers

GREY = np.full((240, 320), 0.5, np.float32)


def shape_of(letter: str, size: int) -> np.ndarray:
    """The strokes of a letter, bool, cut to its box."""
    mask = ImageFont.load_default(size).getmask(letter)
    strokes = np.asarray(mask).reshape(mask.size[::-1]) > 128
    return strokes[np.ix_(strokes.any(1), strokes.any(0))]


def read_letter(white: np.ndarray) -> str:
    """R or L, by the overlap of white pixels with the letters' strokes."""
    assert white.any()
    cut = white[np.ix_(white.any(1), white.any(0))]
    scores = {}
    for letter in "RL":
        strokes = Image.fromarray(shape_of(letter, 64)).resize(cut.shape[::-1], Image.Resampling.NEAREST)
        scores[letter] = (np.asarray(strokes) == cut).mean()
    assert max(scores.values()) > 0.75, scores
    return max(scores, key=lambda letter: scores[letter])


def read_sides(image: Image.Image) -> str:
    """The letters in the left and in the right quarter of a picture of grey pixels."""
    white = np.asarray(image.convert("L")) > 200
    quarter = white.shape[1] // 4
    return read_letter(white[:, :quarter]) + read_letter(white[:, -quarter:])


def predict_view(view: str, **facts) -> RadiographPrediction:
    return RadiographPrediction(GREY, "p", "m", facts={"view": view}, **facts)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_r_is_on_the_left_of_a_picture_and_l_on_its_right(mode):
    image = Image.new(mode, (320, 240), "grey")
    draw_side_markers(image)
    assert read_sides(image) == "RL"
    assert not np.array_equal(np.asarray(image), np.asarray(image)[:, ::-1])


def test_letters_stay_within_the_smallest_picture():
    image = Image.new("L", (30, 24), 100)
    draw_side_markers(image)
    pixels = np.asarray(image)
    assert (pixels[:, :15] > 200).any()
    assert (pixels[:, 15:] > 200).any()
    assert (pixels[:, [0, -1]] < 201).all()


def test_every_panel_of_an_overlay_has_its_sides_unless_it_is_a_lateral_view():
    maps = {"heart": np.zeros((4, 4), np.float32)}
    sheet = render_overlay(predict_view("PA", attention=maps))
    for left in (0, 326):
        assert read_sides(sheet.crop((left, 22, left + 320, 262))) == "RL"
    lateral = np.asarray(render_overlay(predict_view("LATERAL")))
    assert lateral[22:].max() < 200


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_picture_for_the_archive_marks_the_sides_as_the_file_has_them(mirrored):
    radiograph = Radiograph(
        pixels=GREY, valid=np.ones(GREY.shape, bool), stored_rows=240, stored_cols=320,
        flags=("orientation_mirrored",) if mirrored else (),
    )  # fmt: skip
    native = NativeGrid.from_radiograph(radiograph)
    picture = Image.fromarray(render_native_overlay(predict_view("PA", native=native)))
    assert read_sides(picture.crop((0, 80, 320, 160))) == ("LR" if mirrored else "RL")


def test_pictures_of_the_drawing_page_have_their_sides():
    layers = {"heart": np.zeros((4, 4), np.float32)}
    assert read_sides(overlay_map_contours(GREY, layers, 320)) == "RL"


def test_figures_have_their_sides():
    for plot in (
        lambda axes: plot_prior_panel(axes, "a title", GREY, np.zeros((1, 4, 4), np.float32), ["heart"]),
        lambda axes: plot_radiograph(axes, GREY, None, 4 / 3),
    ):
        axes = Figure().subplots()
        plot(axes)
        x = {text.get_text(): text.get_position()[0] for text in axes.texts}
        assert x["R"] < 0.5 < x["L"]
