import numpy as np
import pytest
import torch

from medprior.errors import ConfigError
from medprior.finetune.data.views import PrepareWholeViews, jitter_views
from medprior.finetune.settings import AugmentSettings, FinetuneSettings
from medprior.geometry import create_whole_image_views
from medprior.pretrain.views.intensity import IntensitySettings

ASPECT = np.array([0.5, 1.0, 2.0])
FLAT = IntensitySettings(brightness=0, contrast=0, gamma=0, blur_p=0)


def batch(sources, index=None, label=None, known=None):
    n = len(sources)
    return {
        "image": sources, "aspect": torch.from_numpy(ASPECT[:n]),
        "label": torch.zeros(n, 1) if label is None else label,
        "known": torch.ones(n, 1, dtype=torch.bool) if known is None else known,
        "index": torch.arange(n) if index is None else torch.tensor(index),
    }  # fmt: skip


def test_no_jitter_is_the_whole_view():
    draws = np.full((3, 4), 0.5)
    views = jitter_views(ASPECT, draws, AugmentSettings(), 32)
    np.testing.assert_allclose(views.box, create_whole_image_views(ASPECT, (32, 32)).box)
    assert not views.flip.any()


def test_jitter_keeps_the_aspect_and_its_bounds():
    draws = np.random.default_rng(0).random((300, 4))
    aspect = np.tile(ASPECT, 100)
    settings = AugmentSettings(scale=0.2, translate=0.1, flip_p=0.5)
    views, plain = jitter_views(aspect, draws, settings, 32), create_whole_image_views(aspect, (32, 32))
    ratio = views.box[:, 2:] / plain.box[:, 2:]
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1])
    assert ratio.min() > 1 / 1.2 - 1e-9
    assert ratio.max() < 1.2 + 1e-9
    centre = views.box[:, :2] + views.box[:, 2:] / 2
    shift = (centre - 0.5) / plain.box[:, 2:]
    assert np.abs(shift).max() < 0.1 + 1e-9
    assert 0.4 < views.flip.mean() < 0.6


def test_masks_move_with_pixels():
    """A picture that is its own mask stays its own mask through the real augmentation."""
    rng = np.random.default_rng(1)
    coverage = torch.from_numpy(rng.random((3, 1, 40, 40)) > 0.5).to(torch.uint8) * 255
    flat = AugmentSettings.from_values(
        {"scale": 0.2, "translate": 0.1, "flip_p": 0.5,
         "intensity": {"brightness": 0, "contrast": 0, "gamma": 0, "blur_p": 0}}
    )  # fmt: skip
    known = torch.tensor([[True], [False], [True]])
    make = PrepareWholeViews(32, flat, seed=0)
    images, targets = make(batch(coverage.float() / 255, label=coverage, known=known))
    torch.testing.assert_close(images[[0, 2]], targets[[0, 2]], atol=1e-4, rtol=0)
    assert torch.isnan(targets[1]).all()
    plain, _ = PrepareWholeViews(32)(batch(coverage.float() / 255))
    assert (images - plain).abs().mean() > 0.05


def test_an_image_is_augmented_alike_in_any_batch_and_anew_in_each_epoch():
    sources = torch.rand(3, 1, 40, 40)
    make = PrepareWholeViews(32, AugmentSettings(), seed=5)
    together, _ = make(batch(sources))
    alone, _ = make(batch(sources[:1], index=[0]))
    torch.testing.assert_close(together[:1], alone)
    make.epoch = 2
    later, _ = make(batch(sources))
    assert (later - together).abs().max() > 0.01


def test_nothing_of_the_image_is_lost_or_stretched():
    sources = torch.ones(3, 1, 40, 40)
    images, _ = PrepareWholeViews(32)(batch(sources))
    for image, aspect in zip(images, ASPECT, strict=True):
        assert image.mean().item() == np.float32(min(aspect, 1 / aspect))


def test_draws_move_and_scale_the_box_by_the_stated_amounts():
    settings = AugmentSettings(scale=0.25, translate=0.1, flip_p=0.5)
    draws = np.array([[0.5, 1, 0.5, 0.5], [0.5, 0.5, 0, 0.49], [1, 0.5, 0.5, 0.51], [0, 0.5, 0.5, 1]])
    views = jitter_views(np.array([1.0, 2.0, 1.0, 1.0]), draws, settings, 32)
    expected = [
        [0.1, 0, 1, 1],  # down by a tenth of the side
        [-0.5, -0.1, 2, 1],  # left by a tenth of the width
        [-0.125, -0.125, 1.25, 1.25],
        [0.1, 0.1, 0.8, 0.8],
    ]
    np.testing.assert_allclose(views.box, expected, atol=1e-12)
    assert views.flip.tolist() == [False, True, False, False]
    assert views.grid == (32, 32)


def test_exposures_are_drawn_only_when_augmenting():
    index = np.array([0, 7])
    plain, none = PrepareWholeViews(16).geometry(ASPECT[:2], index)
    assert none is None
    np.testing.assert_allclose(plain.box, create_whole_image_views(ASPECT[:2], (16, 16)).box)
    _, exposures = PrepareWholeViews(16, AugmentSettings()).geometry(ASPECT[:2], index)
    assert exposures.shape == (2, 4)
    assert (np.abs(exposures[:, 0]) <= 0.1).all()
    assert ((exposures[:, 1:3] >= 1 / 1.25) & (exposures[:, 1:3] <= 1.25)).all()
    assert (exposures[:, 3] == 0).all()


def test_stretch_changes_width_against_height_and_keeps_the_area():
    settings = AugmentSettings(scale=0.0, translate=0.0, stretch=0.21)
    draws = np.array([[0.5] * 4 + [1.0], [0.5] * 4 + [0.0], [0.5] * 5])
    views = jitter_views(np.ones(3), draws, settings, 32)
    np.testing.assert_allclose(views.box[:, 2:], [[1 / 1.1, 1.1], [1.1, 1 / 1.1], [1, 1]])
    np.testing.assert_allclose(views.box[:, :2] + views.box[:, 2:] / 2, 0.5)


def test_rotation_turns_the_content_clockwise_about_the_centre():
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 4:12, 28:36] = 1  # at the top
    make = PrepareWholeViews(64, AugmentSettings(scale=0, translate=0, rotate=90, intensity=FLAT))
    make.sample_angles = lambda index: torch.tensor([np.pi / 2])
    image, _ = make(batch(picture) | {"aspect": torch.ones(1, dtype=torch.float64)})
    expected = torch.rot90(picture, -1, dims=(2, 3))
    torch.testing.assert_close(image, expected, atol=1e-3, rtol=0)


def test_angles_are_uniform_within_the_limit_and_repeat():
    index = np.arange(400)
    make = PrepareWholeViews(16, AugmentSettings(rotate=12), seed=3)
    degrees = np.rad2deg(make.sample_angles(index).numpy())
    assert degrees.min() < -10.5
    assert degrees.max() > 10.5
    assert np.abs(degrees).max() <= 12
    np.testing.assert_array_equal(np.rad2deg(make.sample_angles(index[5:6]).numpy()), degrees[5:6])
    make.epoch = 2
    assert (np.rad2deg(make.sample_angles(index).numpy()) != degrees).all()
    assert PrepareWholeViews(16, AugmentSettings()).sample_angles(index) is None
    assert PrepareWholeViews(16).sample_angles(index) is None


def test_masks_turn_and_stretch_with_pixels():
    coverage = torch.from_numpy(np.random.default_rng(2).random((3, 1, 40, 40)) > 0.5).to(torch.uint8) * 255
    make = PrepareWholeViews(32, AugmentSettings(stretch=0.3, rotate=25, intensity=FLAT), seed=1)
    images, targets = make(batch(coverage.float() / 255, label=coverage))
    torch.testing.assert_close(images, targets, atol=1e-4, rtol=0)


def test_rotation_is_refused_beside_maps_that_do_not_turn():
    with pytest.raises(ConfigError, match=r"augment\.rotate=0"):
        FinetuneSettings.from_values({"span_weight": 0.1, "augment": {"rotate": 5}})
