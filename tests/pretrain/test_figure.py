"""`attention.png`: one row an image, one column a head beside the image."""

import numpy as np
import torch
from PIL import Image

from medprior.cohort import Cohort
from medprior.geometry import create_whole_image_views
from medprior.networks import build_encoder
from medprior.networks.attention import compute_attention_maps
from medprior.networks.views import crop_views
from medprior.pretrain.figure import plot_head_attention

from .multi_crops import tiny


def test_size_follows_images_and_heads(phantom_cohort, tmp_path):
    torch.manual_seed(0)
    network = build_encoder(tiny(network={"heads": 3}).network).eval()
    plot_head_attention(tmp_path / "attention.png", network, Cohort.open(phantom_cohort), 48, {"heart": 1}, images=2)
    with Image.open(tmp_path / "attention.png") as picture:
        assert picture.size == (960, 525)  # 4 columns of 1.6 inch, 2 rows of 1.75 inch, 150 dots an inch
        assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["attention.png"]


def test_each_row_has_the_image_and_over_it_the_attention_of_each_head(phantom_cohort, tmp_path, saved_figures):
    torch.manual_seed(0)
    network = build_encoder(tiny(network={"heads": 3}).network).eval()
    cohort = Cohort.open(phantom_cohort)
    plot_head_attention(tmp_path / "attention.png", network, cohort, 48, {"left_lung": 1}, images=2)
    axes = np.array(saved_figures[0].axes).reshape(2, 4)
    titles = [[axis.get_title() for axis in line] for line in axes]
    assert titles == [["image", "free head 0", "left lung", "free head 2"], [""] * 4]
    few = cohort.take(2)
    views = create_whole_image_views(few.aspect, (6, 6))  # 48 pixels in patches of 8
    pixels = crop_views(torch.from_numpy(np.array(few.squares(96)))[:, None], views, 48, torch.arange(2))
    maps = compute_attention_maps(network, pixels)
    for row, line in enumerate(axes):
        for column, axis in enumerate(line):
            picture, *over = axis.images
            np.testing.assert_array_equal(picture.get_array(), pixels[row, 0])
            assert (picture.get_clim(), picture.get_cmap().name) == ((0, 1), "gray")
            assert [list(image.get_extent()) for image in axis.images] == [[0, 1, 1, 0]] * len(axis.images)
            assert not axis.axison
            assert len(over) == (column > 0)
            for image in over:
                np.testing.assert_array_equal(image.get_array(), maps[row, column - 1])
                assert (image.get_alpha(), image.get_cmap().name) == (0.6, "magma")
    assert {text.get_text() for axis in axes[0] for text in axis.texts} == {"R", "L"}


def test_four_images_are_drawn(phantom_cohort, tmp_path):
    network = build_encoder(tiny(network={"heads": 3}).network).eval()
    plot_head_attention(tmp_path / "attention.png", network, Cohort.open(phantom_cohort), 48, {})
    with Image.open(tmp_path / "attention.png") as picture:
        assert picture.size == (960, 1050)
