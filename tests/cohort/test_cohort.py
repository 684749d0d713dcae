import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort import cohort as cohort_module
from medprior.errors import ConfigError, InputMissing
from tests.cohort.images import add_picture, random_picture, write_cohort


def test_what_is_written_is_read_back(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    assert len(cohort) == 12
    assert cohort.label_names == ("a", "b")
    assert cohort.structures == ("heart",)
    np.testing.assert_allclose(cohort.pixels("i003"), random_picture(3), atol=1 / 65535)
    np.testing.assert_array_equal(cohort.mask("i003", "heart"), random_picture(3) > 0.5)
    assert cohort.mask("i004", "heart") is None
    assert cohort.valid("i003").all()
    assert cohort.valid("i003").shape == (40, 30)
    labels = cohort.labels()
    assert labels.dtype == np.float32
    assert np.isnan(labels[:, 1]).all()
    np.testing.assert_array_equal(labels[:, 0], [i % 2 for i in range(12)])
    np.testing.assert_allclose(cohort.aspect, 0.75)


def test_splits_are_disjoint_by_patient_and_empty_ones_are_named(tmp_path):
    cohort = write_cohort(tmp_path / "c", 40)
    parts = [cohort.split(name) for name in ("train", "val", "test")]
    patients = [set(part.patient_ids.tolist()) for part in parts]
    assert sum(map(len, parts)) == 40
    assert sum(map(len, patients)) == 20
    one = write_cohort(tmp_path / "one", 2)
    held = one.manifest.split.iloc[0]
    other = next(name for name in ("train", "val", "test") if name != held)
    with pytest.raises(InputMissing, match=f"split '{other}' is empty"):
        one.split(other)
    with pytest.raises(ConfigError):
        one.split("dev")


def test_take_is_deterministic_and_select_refuses_strangers(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    assert cohort.take(4, 1).image_ids == cohort.take(4, 1).image_ids
    assert cohort.take(4, 1).image_ids != cohort.take(4, 2).image_ids
    with pytest.raises(InputMissing, match="nobody"):
        cohort.select(["nobody"])
    with pytest.raises(InputMissing, match="no label"):
        cohort.labels(["z"])


def test_digest_follows_content(tmp_path):
    a, b, c = write_cohort(tmp_path / "a"), write_cohort(tmp_path / "b"), write_cohort(tmp_path / "c", 10)
    assert a.digest == b.digest != c.digest
    assert a.take(3).digest != a.digest


@pytest.mark.parametrize("rows", [1, 5, 6, 12, 13])
def test_a_digest_is_the_same_whatever_the_rows_that_are_read_at_once(tmp_path, monkeypatch, rows):
    cohort = write_cohort(tmp_path / "c")
    expected = cohort.digest
    monkeypatch.setattr(cohort_module, "CHUNK_ROWS", rows)
    assert Cohort.open(cohort.path).digest == expected


def test_an_index_in_another_order_is_followed_and_a_short_one_refused(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    path = tmp_path / "c" / "pixels" / "index.parquet"
    index = pd.read_parquet(path)
    index.iloc[::-1].to_parquet(path, index=False)
    np.testing.assert_array_equal(Cohort.open(cohort.path).pixels("i003"), cohort.pixels("i003"))
    index.iloc[1:].to_parquet(path, index=False)
    with pytest.raises(InputMissing, match="pixel index"):
        Cohort.open(cohort.path)


def test_a_sample_keeps_the_order_and_all_is_the_cohort_itself(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    sample = cohort.take(7, 3).image_ids
    assert len(set(sample)) == 7
    assert list(sample) == sorted(sample)
    assert cohort.take(12) is cohort
    assert len(cohort.take(11)) == 11
    assert cohort.select(["i005", "i001"]).image_ids == ("i005", "i001")


def test_a_structure_that_no_image_has_is_unknown(tmp_path):
    cohort = write_cohort(tmp_path / "c", 3)
    assert cohort.mask("i000", "spine") is None
    coverage, known = cohort.mask_squares("spine", 4)
    assert coverage.shape == (3, 4, 4)
    assert not known.any()
    assert cohort.labels(["b", "a"]).shape == (3, 2)
    assert cohort.labels(["a"]).tolist() == [[0], [1], [0]]


def test_masks_of_some_images_are_theirs_in_the_order_asked_for(tmp_path):
    cohort = write_cohort(tmp_path / "c")
    coverage, known = cohort.select(["i006", "i001", "i003"]).mask_squares("heart", 40)
    assert known.tolist() == [True, False, True]
    assert not coverage[1].any()
    for row, number in ((0, 6), (2, 3)):
        assert coverage[row].mean() == pytest.approx((random_picture(number) > 0.5).mean(), abs=1e-3)
    whole, _ = cohort.mask_squares("heart", 40)
    np.testing.assert_array_equal(coverage[0], whole[6])


def test_a_cohort_without_labels_has_no_columns_of_them(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        add_picture(writer, 0)
        writer.finish({"i000": "train"})
    cohort = Cohort.open(tmp_path / "c")
    assert cohort.labels().shape == (1, 0)
    with pytest.raises(InputMissing, match=r"no label a, z; .*the cohort has no labels"):
        cohort.labels(["z", "a"])
