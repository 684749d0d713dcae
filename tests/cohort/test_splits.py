import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprior.cohort import assign_patient_splits
from medprior.errors import ConfigError

PEOPLE = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20)), min_size=1, max_size=40)


@given(PEOPLE, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_patient_and_no_picture_is_on_two_sides(pairs, seed):
    patients = [f"p{a}" for a, _ in pairs]
    pixels = [f"x{b}" for _, b in pairs]
    split = assign_patient_splits(patients, pixels, seed=seed)
    for keys in (patients, pixels):
        for key in set(keys):
            assert len({s for k, s in zip(keys, split, strict=True) if k == key}) == 1


def test_shares_come_out_and_new_patients_leave_old_ones_alone():
    patients = [f"p{i}" for i in range(4000)]
    pixels = [f"x{i}" for i in range(4000)]
    split = assign_patient_splits(patients, pixels)
    for name, share in zip(("train", "val", "test"), (0.7, 0.1, 0.2), strict=True):
        assert abs((split == name).mean() - share) < 0.03
    np.testing.assert_array_equal(assign_patient_splits(patients[:3000], pixels[:3000]), split[:3000])
    assert (assign_patient_splits(patients, pixels, seed=1) != split).any()


@pytest.mark.parametrize("count", range(3, 12))
@pytest.mark.parametrize("seed", range(5))
def test_three_patients_are_enough_for_three_splits(count, seed):
    names = [f"p{i}" for i in range(count)]
    assert set(assign_patient_splits(names, names, seed=seed)) == {"train", "val", "test"}


def test_the_official_split_is_kept():
    names = [f"p{i}" for i in range(300)]
    official = ["test" if i < 50 else "train_val" for i in range(300)]
    split = assign_patient_splits(names, names, official=official)
    assert set(split[:50]) == {"test"}
    assert set(split[50:]) == {"train", "val"}


def test_shares_must_sum_to_one():
    with pytest.raises(ConfigError):
        assign_patient_splits(["a"], ["a"], fractions=(0.5, 0.1, 0.1))


def test_a_hundred_thousand_patients_are_split_in_seconds():
    import time

    names = [f"p{i}" for i in range(100_000)]
    start = time.process_time()
    chosen = assign_patient_splits(names, [f"h{i}" for i in range(100_000)])
    assert time.process_time() - start < 10
    assert abs((chosen == "train").mean() - 0.7) < 0.01
