import numpy as np
from scipy import ndimage

from medprior.priors.correction import (
    Corrector,
    compute_pixel_features,
    fit_corrector,
    fit_structure_classifier,
    resize_square,
)
from medprior.priors.registration import Example, equalise_histogram

from .conftest import SIZE, thorax


def test_the_corrector_learns_a_border_that_is_always_off():
    def carry(picture, others):
        del others
        seed = next(s for s in range(9) if np.array_equal(picture, thorax(s)[0]))
        true = thorax(seed)[1]["left_lung"]
        return ndimage.binary_erosion(true, iterations=3)[None].astype(np.float32)

    examples = [Example(thorax(s)[0], thorax(s)[1]["left_lung"][None].astype(np.float32)) for s in range(4)]
    assert fit_corrector(examples[:2], carry, 0) is None
    corrector = fit_corrector(examples, carry, 0)
    for seed in (5, 6):
        picture, masks = thorax(seed)
        truth, given = masks["left_lung"], carry(picture, [])
        better = corrector(picture, given)[0] >= 0.5
        overlap = [2 * (m & truth).sum() / (m.sum() + truth.sum()) for m in (given[0] >= 0.5, better)]
        assert overlap[0] < 0.87
        assert overlap[1] > 0.94
    empty = np.zeros((1, SIZE, SIZE), np.float32)
    np.testing.assert_array_equal(corrector(thorax(5)[0], empty), empty)


def half_mask(size=100):
    """Ones in the left half: the border lies between columns 49 and 50."""
    layer = np.zeros((size, size), np.float32)
    layer[:, : size // 2] = 1
    return layer


def test_each_annotated_image_is_learnt_from_the_others_alone():
    examples = [Example(thorax(s)[0], thorax(s)[1]["heart"][None].astype(np.float32)) for s in range(3)]
    asked = []

    def transfer(picture, others):
        asked.append((picture, list(others)))
        return ndimage.binary_dilation(others[0].coverage[0], iterations=2)[None].astype(np.float32)

    assert len(fit_corrector(examples, transfer, 0).classifiers) == 1
    assert len(asked) == 3
    for own, (picture, others) in zip(examples, asked, strict=True):
        assert picture is own.image
        assert [id(other) for other in others] == [id(other) for other in examples if other is not own]


def test_features_of_the_band_around_a_border():
    features, band = compute_pixel_features(half_mask(), half_mask())
    assert np.flatnonzero(band[50]).tolist() == list(range(41, 59))
    assert features.shape == (100, 100, 24)
    signed_distance = features[50, [41, 49, 50, 58], 3] * 100
    np.testing.assert_allclose(signed_distance, [9, 1, -1, -9])
    np.testing.assert_allclose(features[0, 0, 4:6], [-0.495, -0.245])


def test_features_are_the_map_its_border_its_place_and_the_picture_at_four_scales():
    """All of one pixel, written out: blurs in pixels of a 128-pixel square, places in sides."""
    picture, masks = thorax(2)
    layer = ndimage.zoom(masks["heart"].astype(np.float32), 0.5, order=0)
    features, band = compute_pixel_features(picture, layer)
    level = equalise_histogram(resize_square(picture, 64))
    inside = layer >= 0.5
    rows, columns = np.nonzero(inside)
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    expected = [layer, *(ndimage.gaussian_filter(layer, sigma) for sigma in (1, 2)), distance / 64]
    y, x = np.mgrid[:64, :64] / 64
    expected += [y - rows.mean() / 64, x - columns.mean() / 64, level, level - level[inside].mean()]
    for sigma in (0.5, 1, 2, 4):
        blurred = ndimage.gaussian_filter(level, sigma)
        expected += [blurred, level - blurred, ndimage.sobel(blurred, 0), ndimage.sobel(blurred, 1)]
    np.testing.assert_allclose(features, np.stack(expected, -1), atol=1e-6)
    np.testing.assert_array_equal(band, np.abs(distance) <= 0.09 * 64)


def test_without_two_classes_of_pixels_there_is_no_classifier():
    layer = half_mask(32)
    assert fit_structure_classifier([Example(layer, layer[None])], [np.zeros((1, 32, 32))], 0, 0) is None
    everywhere = np.ones((1, 32, 32), np.float32)
    assert fit_structure_classifier([Example(layer, everywhere)], [layer[None]], 0, 0) is None


def test_only_the_band_is_corrected_and_only_where_there_is_a_classifier():
    layer = half_mask(64)  # its border is after column 31, the band 5.76 pixels to both sides
    truth = np.zeros_like(layer)
    truth[:, :30] = 1
    classifier = fit_structure_classifier([Example(layer, truth[None])], [layer[None]], 0, 0)
    chosen = {"max_iter": 100, "max_leaf_nodes": 8, "min_samples_leaf": 50, "learning_rate": 0.08}
    assert classifier.get_params().items() >= (chosen | {"early_stopping": False, "random_state": 0}).items()
    given = np.stack([layer, layer, 0.4 * layer])
    corrected = Corrector((classifier, None, classifier))(layer, given)
    np.testing.assert_array_equal(corrected[1:], given[1:])
    np.testing.assert_array_equal(corrected[0][:, :27], given[0][:, :27])
    np.testing.assert_array_equal(corrected[0][:, 37:], 0)
    assert (corrected[0][:, 27:30] > 0.5).all()
    assert (corrected[0][:, 30:37] < 0.5).all()
    assert given[0][0, 31] == 1


def test_a_map_that_just_reaches_one_half_is_corrected_too():
    """One half is inside, as everywhere; a map that stays below teaches nothing."""
    picture, masks = thorax(1)
    example = Example(picture, masks["heart"][None].astype(np.float32))
    grown = ndimage.binary_dilation(masks["heart"], iterations=2)
    assert fit_structure_classifier([example], [0.5 * grown[None].astype(np.float32)], 0, 0) is not None
    assert fit_structure_classifier([example], [0.49 * grown[None].astype(np.float32)], 0, 0) is None
