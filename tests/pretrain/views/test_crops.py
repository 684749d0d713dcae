"""Random crops: their area, their aspect, and that they lie inside."""

import numpy as np

from medprior.pretrain.views.crops import sample_crops, sample_offsets


def test_crops_have_the_asked_area_and_true_aspect():
    aspect = np.array([0.8, 1.25, 1.0])
    views = sample_crops(np.random.default_rng(0), aspect, 200, (0.5, 1.0), (4, 4))
    area = views.box[:, 2] * views.box[:, 3]
    assert 0.49 < area.min() < 0.52
    assert 0.98 < area.max() <= 1.001
    physical = views.box[:, 3] * np.tile(aspect, 200) / views.box[:, 2]
    assert physical.min() > 0.74
    assert physical.max() < 1.34
    inside = (views.box[:, :2] >= 0) & (views.box[:, :2] + views.box[:, 2:] <= 1)
    fits = views.box[:, 2:] <= 1
    assert inside[fits].all()


def test_without_stretch_crops_are_squares_of_the_asked_area():
    aspect = np.array([0.5, 2.0])
    views = sample_crops(np.random.default_rng(0), aspect, 3, (0.25, 0.25), (6, 6), stretch=1.0)
    height, width = views.box[:, 2], views.box[:, 3]
    np.testing.assert_allclose(height * width, 0.25)
    np.testing.assert_allclose(width * np.tile(aspect, 3), height)  # of an image of width 0.5 and height 1
    np.testing.assert_allclose(height[:2], [0.3535534, 0.7071068], atol=1e-6)
    assert views.grid == (6, 6)
    assert len(views) == 6


def test_mirrors_are_off_unless_asked_for():
    def count_mirrored(**options):
        return sample_crops(np.random.default_rng(0), np.ones(50), 4, (0.3, 1.0), (2, 2), **options).flip.sum()

    assert count_mirrored() == 0
    assert count_mirrored(flip_p=1.0) == 200
    assert 70 < count_mirrored(flip_p=0.5) < 130


def test_intervals_lie_inside_and_long_ones_around():
    starts = sample_offsets(np.random.default_rng(0), np.repeat([0.25, 1.0, 1.5], 100)).reshape(3, 100)
    assert 0 <= starts[0].min() < 0.05
    assert 0.7 < starts[0].max() <= 0.75
    assert (starts[1] == 0).all()
    assert -0.5 <= starts[2].min() < -0.45
    assert -0.05 < starts[2].max() <= 0


def test_the_first_crop_of_each_image_may_stay_unmirrored():
    def crop(flip_first):
        return sample_crops(
            np.random.default_rng(0), np.ones(5), 3, (0.3, 1.0), (2, 2), flip_p=1.0, flip_first=flip_first
        )

    assert crop(True).flip.all()
    assert crop(False).flip.tolist() == [False] * 5 + [True] * 10
    np.testing.assert_array_equal(crop(True).box, crop(False).box)
