"""Groups by sex, age, view and source, each judged alone."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medprior.cohort import Cohort, CohortWriter
from medprior.evaluate.sections.subgroups import estimate_subgroup_aucs, find_subgroups
from medprior.metrics.bootstrap import Resamples


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    path = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    with CohortWriter(path, store_size=16) as writer:
        for number in range(120):
            writer.add(
                image_id=f"i{number:03d}",
                pixels=rng.random((16, 16)).astype(np.float32),
                patient_id=f"p{number:03d}",
                sex=("F", "M", None)[number % 3],
                age=float(number % 90) if number % 4 else None,
                view="PA",
                labels={"nodule": float(number % 2), "rare": 0.0},
            )
        writer.finish()
    return Cohort.open(path)


def test_groups_have_members_and_divide(people):
    groups = dict(find_subgroups(people))
    assert {"sex.F", "sex.M"} <= set(groups)
    assert not [name for name in groups if name.startswith(("view", "dataset"))]
    ages = people.manifest.age
    assert (groups["age.18-39"] == ages.between(18, 39.999).to_numpy()).all()
    assert min(members.sum() for members in groups.values()) >= 20


def test_each_group_is_judged_alone(people):
    rng = np.random.default_rng(1)
    truth = people.labels(["nodule", "rare"])
    score = truth + rng.normal(size=truth.shape)
    estimates = estimate_subgroup_aucs(people, truth, score, Resamples.draw(people.patient_ids, 50, 0))
    members = (people.manifest.sex == "F").to_numpy()
    record = estimates["subgroup.sex.F.mauc"].record()
    assert record["value"] == pytest.approx(roc_auc_score(truth[members, 0], score[members, 0]))
    assert record["n"] == members.sum()
    assert record["classes"] == 1
    assert record["ci95"][0] <= record["value"] <= record["ci95"][1]


def test_a_group_needs_twenty_images_and_a_second_value(tmp_path):
    """Forty images: ages 40 for twenty and 39 for nineteen, one unknown; sexes of 20 and 20; one view."""
    with CohortWriter(tmp_path / "c", store_size=16) as writer:
        for number in range(40):
            age = None if number == 39 else 40.0 if number < 20 else 39.0
            writer.add(
                image_id=f"i{number:02d}", pixels=np.full((16, 16), number / 64, np.float32),
                patient_id=f"p{number:02d}", sex="F" if number % 2 else "M", age=age, view="PA",
            )  # fmt: skip
        writer.finish()
    groups = dict(find_subgroups(Cohort.open(tmp_path / "c")))
    assert set(groups) == {"sex.F", "sex.M", "age.40-59"}
    assert groups["age.40-59"].tolist() == [True] * 20 + [False] * 20
