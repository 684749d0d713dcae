"""Which images are suggested for annotation."""

from medprior.annotate.typicality import select_medoids, select_varied_images
from medprior.cohort import Cohort


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
