import hashlib
from itertools import pairwise

import numpy as np
import pytest

from medprior.errors import ConfigError, InputMissing
from medprior.finetune.data.targets import (
    choose_labels,
    choose_structures,
    compute_positive_weights,
    resolve_uncertain_labels,
    select_patient_share,
    sort_patients_by_hash,
)
from tests.finetune.conftest import make_cohort, write_cohort


def test_smaller_shares_of_patients_are_parts_of_larger_ones(cohort):
    shares = [0.01, 0.1, 0.3, 0.7, 1.0]
    parts = [select_patient_share(cohort, share, seed=3) for share in shares]
    patients = [set(part.patient_ids.tolist()) for part in parts]
    everyone = len(patients[-1])
    for small, large in pairwise(patients):
        assert small < large
    assert [len(p) for p in patients] == [max(1, int(np.ceil(s * everyone))) for s in shares]
    for part, kept in zip(parts, patients, strict=True):
        whole = cohort.manifest[cohort.manifest.patient_id.isin(kept)]
        assert part.image_ids == tuple(whole.image_id)
    assert select_patient_share(cohort, 0.3, 4).image_ids != parts[2].image_ids


def test_uncertain_values_are_settled_by_the_policy():
    labels = np.array([[0, 1, 0.5, np.nan]], np.float32)
    for policy, value in {"ignore": np.nan, "ones": 1, "zeros": 0, "soft": 0.5}.items():
        np.testing.assert_array_equal(resolve_uncertain_labels(labels, policy), [[0, 1, value, np.nan]])
    with pytest.raises(ConfigError, match="-1 to 1"):
        resolve_uncertain_labels(np.array([[-1, 1]], np.float32), "ignore")


def test_positives_weigh_as_much_as_negatives():
    labels = np.array([[1, 0, 0], [0, 0, np.nan], [0, 0, np.nan], [np.nan, 0, 1]], np.float32)
    np.testing.assert_allclose(compute_positive_weights(labels), [2, 1, 1])
    many = np.r_[np.ones(1), np.zeros(99)][:, None].astype(np.float32)
    assert compute_positive_weights(many)[0] == 10


def test_names_are_checked_against_the_cohort(cohort, tmp_path):
    assert choose_labels(cohort, None) == ("large", "right")
    assert choose_labels(cohort, ("right",)) == ("right",)
    with pytest.raises(InputMissing, match=r"no label nonsense.*large, right"):
        choose_labels(cohort, ("right", "nonsense"))
    assert choose_structures(cohort, None) == ("heart",)
    with pytest.raises(InputMissing, match=r"no masks of spleen.*heart"):
        choose_structures(cohort, ("spleen",))
    bare = make_cohort(tmp_path / "bare", 4, labels=False, masks=False)
    with pytest.raises(InputMissing, match="no labels"):
        choose_labels(bare, None)
    with pytest.raises(InputMissing, match="no masks of any structure"):
        choose_structures(bare, None)


def test_both_lungs_stand_for_the_missing_single_ones(tmp_path):
    whole = np.ones((16, 16), bool)

    def chosen(number, *structures):
        masks = {"x": dict.fromkeys(structures, whole)}
        return choose_structures(write_cohort(tmp_path / str(number), {"x": "train"}, masks=masks), None)

    assert chosen(0, "heart", "lungs") == ("lungs", "heart")
    assert chosen(1, "lungs", "spleen") == ("lungs",)
    assert chosen(2, "heart", "left_lung", "lungs", "right_lung") == ("left_lung", "right_lung", "heart")
    assert chosen(3, "heart", "lungs", "right_lung") == ("right_lung", "heart")
    assert chosen(4, "spleen") == ("spleen",)


def test_requested_structures_keep_their_order(tmp_path):
    masks = {"x": dict.fromkeys(("heart", "lungs"), np.ones((16, 16), bool))}
    cohort = write_cohort(tmp_path / "c", {"x": "train"}, masks=masks)
    assert choose_structures(cohort, ("lungs", "heart")) == ("lungs", "heart")
    assert choose_structures(cohort, ("heart", "lungs")) == ("heart", "lungs")
    with pytest.raises(InputMissing, match="no masks of colon, spleen"):
        choose_structures(cohort, ("spleen", "heart", "colon"))


def test_rare_negatives_weigh_positives_down_to_the_inverse_limit():
    labels = np.r_[np.zeros(1), np.ones(99)][:, None].astype(np.float32)
    assert compute_positive_weights(labels)[0] == np.float32(0.1)
    assert compute_positive_weights(labels, limit=4)[0] == 0.25
    assert compute_positive_weights(1 - labels, limit=4)[0] == 4
    assert compute_positive_weights(labels[:5], limit=10)[0] == 0.25


def test_a_share_is_rounded_up_to_whole_patients(cohort):
    everyone = len(np.unique(cohort.patient_ids))
    assert everyone == 30
    for share, patients in ((0.1, 3), (0.11, 4), (0.001, 1), (0.99, 30)):
        assert len(np.unique(select_patient_share(cohort, share, 0).patient_ids)) == patients
    assert select_patient_share(cohort, 1.0, 0) is cohort


def test_patients_are_sorted_by_their_keyed_digest():
    names = ["p0", "p1", "p2", "p0"]
    digests = {name: hashlib.sha256(f"7/{name}".encode()).hexdigest() for name in names}
    assert sort_patients_by_hash(names, 7) == sorted(digests, key=digests.__getitem__)
    assert sort_patients_by_hash(names, 7) == sort_patients_by_hash(reversed(names), 7)


@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_labels_just_outside_the_unit_interval_are_refused_by_every_policy(value):
    for policy in ("ignore", "ones", "zeros", "soft"):
        with pytest.raises(ConfigError, match="labels outside"):
            resolve_uncertain_labels(np.array([[0.5, value, np.nan]], np.float32), policy)


def test_a_label_without_negatives_or_positives_weighs_one():
    nan = np.float32("nan")
    labels = np.array([[1, 0, nan, 1], [1, 0, nan, nan], [nan, nan, nan, 0]], np.float32)
    np.testing.assert_array_equal(compute_positive_weights(labels), [1, 1, 1, 1])
    np.testing.assert_array_equal(compute_positive_weights(labels[:2]), [1, 1, 1, 1])
