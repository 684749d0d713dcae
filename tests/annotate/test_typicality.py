"""Which images are suggested for annotation."""

import numpy as np
import pytest

from medprior.annotate.typicality import (
    SQUARE_SIZE_PX,
    find_typical_annotated,
    rank_by_typicality,
    rank_pixels,
    select_medoids,
    select_typical_images,
    select_varied_images,
    sort_by_typicality,
)
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import InputMissing
from tests.annotate.drawings import disc


def test_suggestions_differ_and_others_are_other_patients(phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    suggested = select_medoids(cohort, 12)
    assert len(set(suggested)) == 12
    train = set(cohort.split("train").image_ids)
    assert set(suggested) <= train
    others = select_varied_images(cohort, 6, frozenset(suggested[:1]))
    assert len(set(others)) == 6
    assert suggested[0] not in others
    assert set(others) <= train


def graded_cohort(path, patients, masks=None, train=None):
    """Images of one pattern under growing noise: i0 is the most typical, then i1, and so on."""
    masks, rng = masks or {}, np.random.default_rng(0)
    common = rng.standard_normal((40, 40))
    with CohortWriter(path, store_size=40) as writer:
        for index, patient in enumerate(patients):
            noise = (0.1, 0.3, 0.6, 1.0, 1.6, 2.5)[index]
            pixels = 0.5 + 0.1 * (common + noise * rng.standard_normal((40, 40))) / (1 + noise)
            writer.add(
                image_id=f"i{index}", pixels=pixels.astype(np.float32), patient_id=patient,
                masks={name: disc(0.5, shape=(40, 40)) for name in masks.get(index, ())},
            )  # fmt: skip
        split = {f"i{index}": "train" for index in range(len(patients))} | (train or {})
        writer.finish(split=split)
    return Cohort.open(path)


def test_ranks_are_centred_and_of_unit_length():
    ranks = rank_pixels(np.array([[[30, 1], [2, 0]], [[3, 1], [2, 0]]], np.float32))
    np.testing.assert_allclose(ranks, np.array([[1.5, -0.5, 0.5, -1.5]] * 2) / np.sqrt(5))


def test_the_medoid_comes_first_and_ties_keep_their_order():
    assert sort_by_typicality(np.array([[1.0, 0], [0.8, 0.6], [0, 1]])).tolist() == [1, 0, 2]
    assert sort_by_typicality(np.ones((4, 2))).tolist() == [0, 1, 2, 3]


def test_typical_images_are_of_different_patients(tmp_path):
    cohort = graded_cohort(tmp_path / "c", ["a", "a", "b", "c", "b"])
    assert rank_by_typicality(cohort).tolist() == [0, 1, 2, 3, 4]
    assert select_typical_images(cohort, 2) == ("i0", "i2")
    assert select_typical_images(cohort, 9) == ("i0", "i2", "i3")


def test_varied_images_run_from_typical_to_untypical_without_the_patients_left_out(tmp_path):
    cohort = graded_cohort(tmp_path / "c", ["a", "a", "b", "c", "d", "d"])
    assert select_varied_images(cohort, 2) == ("i0", "i4")
    assert select_varied_images(cohort, 2, frozenset({"i1"})) == ("i2", "i4")
    assert select_varied_images(cohort, 9, frozenset({"i1"})) == ("i2", "i3", "i4")
    assert select_varied_images(cohort, 3, frozenset(cohort.image_ids)) == ()


def test_every_medoid_adds_most_of_the_patients_left(tmp_path):
    patients = ["a", "b", "b", "c", "d", "e"]
    cohort = graded_cohort(tmp_path / "c", patients)
    ranks = rank_pixels(np.asarray(cohort.squares(SQUARE_SIZE_PX)))

    def similarity(chosen):
        return sum(max(row @ ranks[index] for index in chosen) for row in ranks)

    medoids = [int(name[1:]) for name in select_medoids(cohort, 9)]
    assert len(medoids) == 5
    assert medoids[0] == rank_by_typicality(cohort)[0]
    for count in range(1, 5):
        chosen = medoids[:count]
        taken = {patients[index] for index in chosen}
        totals = {index: similarity([*chosen, index]) for index in range(6) if patients[index] not in taken}
        assert totals[medoids[count]] == pytest.approx(max(totals.values()), abs=1e-9)
    assert select_medoids(cohort, 3) == tuple(f"i{index}" for index in medoids[:3])


def test_most_masks_come_before_typicality_and_training_images_only(tmp_path):
    lungs = ("left_lung", "right_lung")
    masks = {0: lungs, 1: ("left_lung",), 2: lungs, 3: lungs}
    assert find_typical_annotated(graded_cohort(tmp_path / "c", list("abcd"), masks, {"i0": "val"})) == "i2"
    with pytest.raises(InputMissing, match="no training image"):
        find_typical_annotated(graded_cohort(tmp_path / "d", list("ab"), {1: lungs}, {"i1": "test"}))
