"""`attention.png`: one row an image, one column a head beside the image."""

import torch
from PIL import Image

from medprior.cohort import Cohort
from medprior.networks import build_encoder
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
