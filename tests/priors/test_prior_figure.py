import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medprior.priors import SpatialPrior, prior_figure
from medprior.priors.prior_figure import plot_prior, plot_prior_panel, select_plotted_images

MAPS = np.zeros((1, 8, 8), np.float32)


def test_the_worst_training_image_is_shown_last(thoraxes):
    """Least trust comes first, then the least correlation; images of other splits are not shown."""
    table = pd.DataFrame({"image_id": thoraxes.image_ids, "trust": 1.0, "correlation": 0.9, "status": "deformable"})
    table = table.set_index("image_id", drop=False)
    table.loc["t004", ["trust", "correlation", "status"]] = 0.5, 0.4, "affine"
    table.loc["t006", ["trust", "correlation", "status"]] = 0.5, 0.3, "affine"
    table.loc["t008", ["trust", "correlation"]] = 1.0, 0.1
    table.loc["t003", ["trust", "correlation", "status"]] = 0.0, 0.0, "static"
    prior = SpatialPrior(MAPS, ("heart",), "registered", "annotation", table=table.reset_index(drop=True))
    train = thoraxes.split("train")
    shown = select_plotted_images(prior, train, seed=0)
    assert len(shown) == 5
    assert shown[-1] == ("worst: affine", "t006")
    assert {name for _, name in shown} <= set(train.image_ids)
    assert all(title == table.status[name] for title, name in shown[:-1])


def test_an_annotated_image_is_never_the_worst(thoraxes):
    train = thoraxes.split("train")
    table = pd.DataFrame({"image_id": train.image_ids, "trust": 1.0, "correlation": 0.9, "status": "deformable"})
    table.loc[0, ["correlation", "status"]] = 0.1, "annotated"
    table.loc[3, "correlation"] = 0.5
    prior = SpatialPrior(MAPS, ("heart",), "registered", "annotation", table=table)
    assert select_plotted_images(prior, train, seed=0)[-1] == ("worst: deformable", train.image_ids[3])
    alone = SpatialPrior(MAPS, ("heart",), "registered", "annotation", table=table[:1])
    assert select_plotted_images(alone, train.select(train.image_ids[:1]), 0) == [("annotated", train.image_ids[0])]


def test_without_maps_of_their_own_two_images_are_shown(thoraxes):
    prior = SpatialPrior(MAPS, ("heart",), "static", "annotation")
    shown = select_plotted_images(prior, thoraxes.split("train"), seed=0)
    assert [title for title, _ in shown] == ["the same for all"] * 2


def test_contours_only_below_the_greatest_value():
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, 2:6, 2:6], maps[1, 2:6, 2:6], maps[2, 2:6, 2:6] = 0.25, 0.5, 1
    axes = Figure().subplots()
    plot_prior_panel(axes, "title", np.zeros((8, 8)), maps, ("heart", "left_lung", "right_lung"))
    assert [contours.levels.tolist() for contours in axes.collections] == [[0.25], [0.25, 0.5, 0.75]]


def test_the_first_panel_is_the_mean_of_the_training_images(thoraxes, tmp_path, monkeypatch):
    pictures = []
    monkeypatch.setattr(prior_figure, "plot_prior_panel", lambda axes, title, picture, *_: pictures.append(picture))
    plot_prior(SpatialPrior(MAPS, ("heart",), "static", "annotation"), thoraxes, tmp_path / "prior.png")
    train = thoraxes.split("train")
    np.testing.assert_allclose(pictures[0], np.mean(list(train.squares(8)), axis=0), atol=1e-6)
    assert all(picture.shape == (8, 8) for picture in pictures)
    assert len(pictures) == 3
