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
)
from tests.finetune.conftest import make_cohort


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
