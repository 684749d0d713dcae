"""Every way to keep pictures gives back what it was given."""

import fsspec
import numpy as np
import pytest

from medprior.bench import cohort
from medprior.bench.cohort_formats import list_formats

PICTURES = np.random.default_rng(0).integers(0, 65536, (6, 20, 30)).astype(np.uint16)


@pytest.mark.parametrize("way", list_formats(), ids=lambda way: way.name)
def test_pictures_come_back(tmp_path, way):
    way.write(tmp_path, PICTURES)
    here, there = way.open_local(tmp_path), way.open_remote(fsspec.filesystem("file"), str(tmp_path))
    for index in (5, 0, 3):
        np.testing.assert_array_equal(here(index), PICTURES[index])
        np.testing.assert_array_equal(there(index), PICTURES[index])
    assert cohort.count_disk_bytes(tmp_path) > 0
    cohort.drop_page_cache(tmp_path)
    np.testing.assert_array_equal(way.open_local(tmp_path)(1), PICTURES[1])
