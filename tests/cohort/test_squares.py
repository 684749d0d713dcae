import numpy as np

from medprior.cohort.squares import load_cached_square_images, resize_images_into
from tests.cohort.images import random_picture, write_cohort


def test_squares_are_area_averages_cached_and_shared_by_parts(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    squares = cohort.squares(10)
    assert squares.shape == (12, 10, 10)
    assert squares.dtype == np.float32
    np.testing.assert_allclose(squares[2], random_picture(2).reshape(10, 4, 10, 3).mean((1, 3)), atol=1e-4)
    assert (tmp_path / "c" / "cache" / "squares_10.npy").is_file()
    part = cohort.select(["i005", "i001"])
    np.testing.assert_array_equal(part.squares(10), squares[[5, 1]])
    coverage, known = part.select(["i005"]).mask_squares("heart", 10)
    assert not known.any()
    assert not coverage.any()
    coverage, known = cohort.mask_squares("heart", 10)
    assert known.tolist() == [i % 3 == 0 for i in range(12)]
    np.testing.assert_allclose(coverage[3], (random_picture(3) > 0.5).reshape(10, 4, 10, 3).mean((1, 3)), atol=1e-5)


def test_a_longer_cohort_never_shows_an_old_cache(tmp_path):
    write_cohort(tmp_path / "c", 6).squares(8)
    assert write_cohort(tmp_path / "c", 9).squares(8).shape == (9, 8, 8)


def test_unknown_images_stay_black_and_values_are_clipped():
    images = [np.full((4, 2), 1.5, np.float32), None, np.full((2, 4), -1, np.float32), np.eye(2, dtype=np.float32)]
    target = np.zeros((4, 2, 2), np.float32)
    resize_images_into(target, images.__getitem__, "title")
    assert target[0].tolist() == [[1, 1], [1, 1]]
    assert not target[1:3].any()
    assert target[3].tolist() == [[1, 0], [0, 1]]


def test_a_cache_of_the_same_shape_is_not_read_again(tmp_path):
    asked = []

    def read(index):
        asked.append(index)
        return np.full((2, 2), index / 4, np.float32)

    path = tmp_path / "cache" / "squares_2.npy"
    for _ in range(2):
        squares = load_cached_square_images(path, 3, 2, read)
        assert squares[:, 0, 0].tolist() == [0, 0.25, 0.5]
        assert not squares.flags.writeable
    assert asked == [0, 1, 2]
    assert load_cached_square_images(path, 2, 2, read).shape == (2, 2, 2)
    assert asked == [0, 1, 2, 0, 1]
