import subprocess
import sys

import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.squares import decode_squares, load_cached_square_images, resize_images_into
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


def test_open_squares_are_the_squares_whatever_is_indexed(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    squares, images = cohort.squares(10), cohort.open_squares(10)
    assert (images.shape, len(images), images.dtype) == (squares.shape, 12, squares.dtype)
    np.testing.assert_array_equal(images[3], squares[3])
    np.testing.assert_array_equal(images[-1], squares[-1])
    for index in (slice(2, 7), slice(0, 12, 3), np.array([5, 0]), [1, 1], slice(4, 4)):
        np.testing.assert_array_equal(images[index], squares[index])
    stored = images.read_stored(np.array([4, 2]))
    assert stored.dtype == images.stored_dtype == np.uint16
    np.testing.assert_array_equal(decode_squares(stored), squares[[4, 2]])
    with pytest.raises(IndexError):
        images[12]


def test_squares_of_the_stores_own_size_are_the_stored_values(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    with CohortWriter(tmp_path / "c") as writer:
        writer.add(image_id="a", pixels=every, patient_id="a")
        writer.finish()
    cohort = Cohort.open(tmp_path / "c")
    np.testing.assert_array_equal(cohort.open_squares(256).read_stored(np.array([0]))[0], every)
    np.testing.assert_array_equal(cohort.squares(256)[0], cohort.pixels("a"))


def test_a_few_images_of_many_are_read_alone(tmp_path):
    cohort = write_cohort(tmp_path / "c", 130)
    few = cohort.select(["i100", "i003"])
    alone = few.squares(8)
    assert not (tmp_path / "c" / "cache").exists()
    np.testing.assert_array_equal(alone, cohort.squares(8)[[100, 3]])
    np.testing.assert_array_equal(few.squares(8), alone)


def test_a_cache_of_an_earlier_version_is_read_as_it_is(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    older = np.random.default_rng(0).random((12, 8, 8), dtype=np.float32)
    (tmp_path / "c" / "cache").mkdir()
    np.save(tmp_path / "c" / "cache" / "squares_8.npy", older)
    np.testing.assert_array_equal(cohort.select(["i005", "i001"]).squares(8), older[[5, 1]])
    assert cohort.open_squares(8).stored_dtype == np.float32


def test_without_room_for_a_cache_images_are_resampled_at_every_read(tmp_path, caplog):
    cohort, expected = write_cohort(tmp_path / "c"), write_cohort(tmp_path / "d").squares(8)
    (tmp_path / "c" / "cache").write_text("a file where the folder would be")
    np.testing.assert_array_equal(cohort.squares(8), expected)
    assert "squares_8.npy" in caplog.text


def test_many_shards_need_few_files(tmp_path):
    """A cohort of ten million images has thousands of shards; the process may open 40 files."""
    code = """
import resource, sys
from pathlib import Path
import numpy as np
from medprior.cohort.store import PixelStore, ShardAppender
shards = ShardAppender(Path(sys.argv[1]), None, shard_bytes=8)
places = [shards.append(np.full((2, 2), number, np.uint16)) for number in range(100)]
shards.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
store = PixelStore(Path(sys.argv[1]))
print(max(place.shard for place in places), sum(float(store.read(place)[0, 0]) * 65535 for place in places))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True, text=True, timeout=300
    )
    last, total = done.stdout.split()
    assert int(last) == 99
    assert float(total) == pytest.approx(4950)
