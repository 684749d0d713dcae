"""Small splits get an image where a label is present and one where it is absent, if there are enough."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medprior.cohort import Cohort, CohortWriter, assign_patient_splits
from medprior.cohort.stratified_splits import LARGE_SPLIT_GROUPS, collect_outcomes, stratify_small_splits

NAMES = [f"p{number}" for number in range(80)]
SHARES = (0.7, 0.1, 0.2)


def column(present, count=80):
    """One label of `count` images, present at these indices."""
    labels = np.zeros((count, 1))
    labels[list(present)] = 1
    return labels


def count_present(splits, labels):
    return Counter(splits[labels[:, 0] == 1].tolist())


@pytest.mark.parametrize("seed", range(8))
def test_validation_gets_a_rare_label_and_sizes_stay(seed):
    plain = assign_patient_splits(NAMES, NAMES, seed=seed)
    labels = column(np.flatnonzero(plain == "train")[:6])  # all of it in train
    splits = assign_patient_splits(NAMES, NAMES, seed=seed, labels=labels)
    assert Counter(splits.tolist()) == Counter(plain.tolist())
    assert count_present(splits, labels) == {"train": 4, "val": 1, "test": 1}
    assert (splits != plain).sum() == 4
    np.testing.assert_array_equal(assign_patient_splits(NAMES, NAMES, seed=seed, labels=labels), splits)


def test_an_absent_label_is_spread_as_a_present_one():
    plain = assign_patient_splits(NAMES, NAMES)
    labels = 1 - column(np.flatnonzero(plain == "train")[:6])
    splits = assign_patient_splits(NAMES, NAMES, labels=labels)
    assert count_present(splits, 1 - labels) == {"train": 4, "val": 1, "test": 1}


def test_the_group_whose_position_is_nearest_is_taken():
    split_by_group = {0: "train", 1: "train", 2: "train", 3: "val", 4: "val", 5: "test"}
    positions = {0: 0.1, 1: 0.65, 2: 0.5, 3: 0.72, 4: 0.79, 5: 0.9}
    labels = column([0, 1, 2], 6)
    stratify_small_splits(split_by_group, positions, (0.7, 0.1, 0.2), range(6), labels)
    # 1 is nearest to val and 3 to train. Test keeps its group, the only one without the label there.
    assert split_by_group == {0: "train", 1: "val", 2: "train", 3: "train", 4: "val", 5: "test"}


def test_a_split_gives_nothing_that_it_needs_itself():
    split_by_group = {0: "train", 1: "train", 2: "val", 3: "test"}
    positions = {0: 0.1, 1: 0.2, 2: 0.75, 3: 0.9}
    labels = np.array([[1, np.nan], [1, np.nan], [np.nan, 1], [np.nan, np.nan]])
    stratify_small_splits(split_by_group, positions, SHARES, range(4), labels)
    # Val's only group is all that has the second label there; test's group can be spared.
    assert split_by_group == {0: "train", 1: "test", 2: "val", 3: "train"}


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_stay_where_they_are(count):
    plain = assign_patient_splits(NAMES, NAMES)
    labels = column(np.flatnonzero(plain == "train")[:count])
    splits = assign_patient_splits(NAMES, NAMES, labels=labels)
    assert count_present(splits, labels)["train"] == 1
    assert (splits != plain).sum() == 2 * (count - 1)


def test_large_splits_stay_as_the_hash_made_them():
    names = [f"p{number}" for number in range(12 * LARGE_SPLIT_GROUPS)]
    plain = assign_patient_splits(names, names)
    assert min(Counter(plain.tolist()).values()) >= LARGE_SPLIT_GROUPS
    labels = column(np.flatnonzero(plain == "train")[:6], len(names))
    np.testing.assert_array_equal(assign_patient_splits(names, names, labels=labels), plain)


def test_official_splits_neither_take_nor_give():
    official = ["test"] * 20 + ["train_val"] * 60
    plain = assign_patient_splits(NAMES, NAMES, official=official)
    train = np.flatnonzero(plain == "train")
    labels = column([*range(5), *train[:6].tolist()])
    splits = assign_patient_splits(NAMES, NAMES, official=official, labels=labels)
    assert splits[:20].tolist() == ["test"] * 20
    assert count_present(splits, labels) == {"train": 5, "val": 1, "test": 5}
    none_left = column(range(5))
    splits = assign_patient_splits(NAMES, NAMES, official=official, labels=none_left)
    np.testing.assert_array_equal(splits, plain)


@given(
    st.lists(st.tuples(st.integers(0, 15), st.sampled_from([0.0, 1.0, 0.5, np.nan])), min_size=1, max_size=40),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_patients_stay_whole_and_no_split_loses_an_outcome(rows, seed):
    patients = [f"p{patient}" for patient, _ in rows]
    pictures = [f"x{number}" for number in range(len(rows))]
    labels = np.array([[value] for _, value in rows])
    plain = assign_patient_splits(patients, pictures, seed=seed)
    splits = assign_patient_splits(patients, pictures, seed=seed, labels=labels)
    for patient in set(patients):
        assert len({s for p, s in zip(patients, splits, strict=True) if p == patient}) == 1
    for present in (True, False):
        is_outcome = (labels[:, 0] >= 0.5) == present
        is_outcome &= ~np.isnan(labels[:, 0])
        assert set(plain[is_outcome]) <= set(splits[is_outcome])


def test_outcomes_of_a_group_are_those_of_its_images():
    labels = np.array([[1.0, np.nan], [0.0, 0.5], [np.nan, np.nan]])
    assert collect_outcomes([4, 4, 7], labels) == {4: {(0, True), (0, False), (1, True)}, 7: frozenset()}


def test_a_written_cohort_is_stratified_and_keeps_its_splits_when_it_grows(tmp_path):
    def write(count):
        plain = assign_patient_splits(NAMES, NAMES)
        present = set(np.flatnonzero(plain == "train")[:6].tolist())
        with CohortWriter(tmp_path / "cohort") as writer:
            for number in range(count):
                pixels = np.full((16, 16), number / 100, np.float32)
                writer.add(image_id=f"i{number:02d}", patient_id=f"p{number}", pixels=pixels,
                           labels={"rare": float(number in present)})  # fmt: skip
            writer.finish()
        manifest = Cohort.open(tmp_path / "cohort").manifest
        return dict(zip(manifest.image_id, manifest.split, strict=True)), manifest

    first, manifest = write(80)
    assert set(manifest[manifest.rare == 1].split) == {"train", "val", "test"}
    second, _ = write(84)
    assert {name: second[name] for name in first} == first
