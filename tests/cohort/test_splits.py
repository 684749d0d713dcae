import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprior.cohort import assign_patient_splits
from medprior.cohort.splits import (
    ENOUGH_GROUPS,
    fill_empty_splits,
    fill_small_splits,
    group_linked_images,
    hash_to_unit_interval,
)
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


@pytest.mark.slow
def test_a_hundred_thousand_patients_are_split_in_seconds():
    import time

    names = [f"p{i}" for i in range(100_000)]
    start = time.process_time()
    chosen = assign_patient_splits(names, [f"h{i}" for i in range(100_000)])
    assert time.process_time() - start < 10
    assert abs((chosen == "train").mean() - 0.7) < 0.01


def test_groups_are_linked_through_patients_and_pixels():
    groups = group_linked_images(["a", "a", "b", "c", "d"], ["1", "2", "2", "3", "1"])
    assert groups.tolist() == [0, 0, 0, 3, 0]
    # A patient and a picture of the same name are no link.
    assert group_linked_images(["x", "b"], ["1", "x"]).tolist() == [0, 1]


def test_a_name_has_one_place_under_each_seed():
    assert hash_to_unit_interval("p0", 0) == pytest.approx(int("865779d579f6637d", 16) / 16**16)
    assert hash_to_unit_interval("p0", 1) != hash_to_unit_interval("p0", 0)


def test_the_place_is_compared_with_the_sums_of_the_shares():
    names = [f"p{i}" for i in range(300)]
    places = [hash_to_unit_interval(name, 3) for name in names]
    expected = ["train" if place < 0.5 else "val" if place < 0.8 else "test" for place in places]
    assert assign_patient_splits(names, names, (0.5, 0.3, 0.2), seed=3).tolist() == expected


def test_train_and_val_share_what_an_official_list_leaves_open():
    names = [f"p{i}" for i in range(300)]
    places = [hash_to_unit_interval(name, 0) for name in names]
    # 0.7 of 0.8 is 7 / 8.
    expected = ["train" if place < 0.875 else "val" for place in places]
    assert assign_patient_splits(names, names, official=["train_val"] * 300).tolist() == expected


@pytest.mark.parametrize(
    ("official", "expected"),
    [
        (("train", "val", "test"), "test"), (("train", "val"), "val"), (("train_val", "test"), "test"),
        (("train", None), "train"), (("val", "train_val"), "val"),
    ],
)  # fmt: skip
def test_a_patient_in_several_official_splits_takes_the_last(official, expected):
    names = ["p"] * len(official)
    pixels = [str(number) for number in range(len(official))]
    assert set(assign_patient_splits(names, pixels, official=official)) == {expected}


def test_a_group_has_the_place_of_its_smallest_patient():
    names = [f"p{i}" for i in range(10, 60)]
    alone = dict(zip(names, assign_patient_splits(names, names), strict=True))
    # Pairs share a picture; the even one has the smaller id and comes second.
    partner = {name: f"p{int(name[1:]) // 2 * 2}" for name in names}
    linked = dict(zip(names, assign_patient_splits(names[::-1], [partner[n] for n in names[::-1]])[::-1], strict=True))
    assert linked == {name: alone[partner[name]] for name in names}
    assert linked != alone


@pytest.mark.parametrize(
    ("fractions", "places", "expected"),
    [
        ((0.7, 0.1, 0.2), {0: 0.1, 1: 0.69, 2: 0.5}, ["train", "val", "test"]),
        # A share of nothing stays empty.
        ((0.8, 0.0, 0.2), {0: 0.1, 1: 0.69, 2: 0.5}, ["train", "test", "train"]),
        # Groups with an official split have no place and do not move.
        ((0.7, 0.1, 0.2), {0: 0.1}, ["val", "train", "train"]),
        ((0.7, 0.1, 0.2), {}, ["train", "train", "train"]),
    ],
)
def test_the_nearest_group_fills_an_empty_split(fractions, places, expected):
    splits = dict.fromkeys(range(3), "train")
    fill_empty_splits(splits, dict(places), fractions)
    assert [splits[group] for group in range(3)] == expected


def test_two_groups_are_too_few_to_fill_a_third_split():
    splits = {0: "train", 1: "train"}
    fill_empty_splits(splits, {0: 0.1, 1: 0.69}, (0.7, 0.1, 0.2))
    assert splits == {0: "train", 1: "train"}


@pytest.mark.parametrize("fractions", [(1.2, -0.1, -0.1), (0.7, 0.1, 0.21)])
def test_shares_are_not_negative_and_sum_to_one(fractions):
    with pytest.raises(ConfigError, match="must be 0 or more and add up to 1"):
        assign_patient_splits(["a"], ["a"], fractions)


def split_by_hash(names, seed, fractions=(0.7, 0.1, 0.2)):
    """Splits by the hash alone, as of large cohorts."""
    edges = np.cumsum(fractions)[:2]
    places = [hash_to_unit_interval(name, seed) for name in names]
    return ["train" if place < edges[0] else "val" if place < edges[1] else "test" for place in places]


def find_seed_with_one_val_patient(names):
    """A seed whose hash puts one of the patients into val."""
    return next(seed for seed in range(10_000) if split_by_hash(names, seed).count("val") == 1)


def test_a_small_cohort_gets_the_validation_patients_that_were_meant():
    names = [f"p{i}" for i in range(80)]
    seed = find_seed_with_one_val_patient(names)
    split = assign_patient_splits(names, names, seed=seed).tolist()
    assert split.count("val") == 8
    by_hash = split_by_hash(names, seed)
    moved = [index for index in range(80) if split[index] != by_hash[index]]
    assert len(moved) == 7
    assert {split[index] for index in moved} == {"val"}
    # The moved ones are the nearest to val's interval, and no split gives away what it needs itself.
    assert split.count("train") >= 10
    assert split.count("test") >= 10
    places = [hash_to_unit_interval(name, seed) for name in names]
    distances = [max(0.7 - place, place - 0.8) for place in places]
    taken = max(distances[index] for index in moved)
    left = [index for index in range(80) if split[index] == "train" and distances[index] < taken]
    assert left == []
    assert assign_patient_splits(names, names, seed=seed).tolist() == split


def test_images_of_one_patient_move_together():
    names = [f"p{i}" for i in range(80)]
    seed = find_seed_with_one_val_patient(names)
    patients = [name for name in names for _ in range(3)]
    pictures = [f"x{index}" for index in range(len(patients))]
    split = assign_patient_splits(patients, pictures, seed=seed)
    assert split.tolist() == [name for name in assign_patient_splits(names, names, seed=seed) for _ in range(3)]


@pytest.mark.parametrize("count", [400, 900])
@pytest.mark.parametrize("seed", range(5))
def test_the_hash_alone_splits_where_each_split_has_enough(count, seed):
    names = [f"p{i}" for i in range(count)]
    by_hash = split_by_hash(names, seed)
    assert min(by_hash.count(name) for name in ("train", "val", "test")) >= ENOUGH_GROUPS
    assert assign_patient_splits(names, names, seed=seed).tolist() == by_hash


def test_half_of_what_was_meant_is_enough():
    names = [f"p{i}" for i in range(80)]
    seed = next(seed for seed in range(10_000) if split_by_hash(names, seed).count("val") == 4)
    assert split_by_hash(names, seed).count("test") >= 8
    assert assign_patient_splits(names, names, seed=seed).tolist() == split_by_hash(names, seed)


def test_an_official_test_split_stays_while_val_is_filled():
    names = [f"p{i}" for i in range(80)]
    official = ["test" if index < 20 else "train_val" for index in range(80)]
    seed = next(
        seed for seed in range(10_000) if sum(hash_to_unit_interval(name, seed) >= 0.875 for name in names[20:]) == 2
    )
    split = assign_patient_splits(names, names, seed=seed, official=official).tolist()
    assert split[:20] == ["test"] * 20
    assert split[20:].count("val") == 8  # an eighth of 60
    fixed = assign_patient_splits(names, names, (0.0, 0.0, 1.0), official=official).tolist()
    assert fixed == ["test"] * 20 + ["val"] * 60


def test_a_published_val_split_counts_for_new_patients():
    names = [f"p{i}" for i in range(80)]
    seed = find_seed_with_one_val_patient(names)
    more = [f"q{i}" for i in range(10)]
    official = [None] * 80 + ["val"] * 10
    split = assign_patient_splits(names + more, names + more, seed=seed, official=official).tolist()
    assert split == split_by_hash(names, seed) + ["val"] * 10


def test_a_split_is_filled_with_the_nearest_up_to_ten_groups_and_not_to_its_share():
    """Of 300 groups 30 were meant for val, which got nine; the nearest of the others lies 0.001 below its interval."""
    places = [*np.linspace(0, 0.699, 231), *np.linspace(0.71, 0.79, 9), *np.linspace(0.81, 0.99, 60)]
    splits = dict(enumerate(["train"] * 231 + ["val"] * 9 + ["test"] * 60))
    fill_small_splits(splits, dict(enumerate(places)), (0.7, 0.1, 0.2))
    assert [group for group, name in splits.items() if name == "val"] == list(range(230, 240))
    full = dict(enumerate(["train"] * 230 + ["val"] * 10 + ["test"] * 60))
    fill_small_splits(full, dict(enumerate(places)), (0.7, 0.1, 0.2))
    assert full == dict(enumerate(["train"] * 230 + ["val"] * 10 + ["test"] * 60))
