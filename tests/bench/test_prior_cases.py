"""Cases of the prior bench."""

from dataclasses import replace

import numpy as np

from medprior.annotate import annotate_from_cohort
from medprior.bench.prior_cases import (
    build_robustness_cases,
    choose_few_examples,
    distort_annotation,
)
from medprior.priors.quality import summarise_quality
from medprior.priors.settings import PriorSettings


def test_few_are_training_images_and_other_examples_are_thirteen(thoraxes):
    from medprior.annotate import annotate_from_cohort
    from medprior.annotate.typicality import find_typical_annotated

    settings, first = PriorSettings(), annotate_from_cohort(thoraxes, find_typical_annotated(thoraxes))
    example_ids = [one.image_id for one in choose_few_examples(thoraxes, first, settings)]
    assert len(set(example_ids)) == 5
    assert set(example_ids) <= set(thoraxes.split("train").image_ids)
    cases = list(build_robustness_cases(thoraxes, settings, examples=4))
    assert [case.name for case in cases] == [
        "example 1", "example 2", "example 3", "example 4", "eroded", "dilated", "shifted",
    ]  # fmt: skip
    areas = {how: distort_annotation(first, how).masks["heart"].sum() for how in ("eroded", "dilated", "shifted")}
    own = first.masks["heart"].sum()
    assert areas["eroded"] < own < areas["dilated"]
    assert areas["shifted"] == own
    part = thoraxes.split("test").take(2)
    prior = cases[-1].prepare()(part)
    assert prior.per_image is not None
    assert set(summarise_quality(prior, part)) >= {"heart", "left_lung"}


def test_distortions_are_a_twentieth_of_the_longer_side(thoraxes):
    mask = np.zeros((20, 40), bool)
    mask[8:13, 8:13] = True
    annotation = replace(
        annotate_from_cohort(thoraxes, thoraxes.split("train").image_ids[0]),
        image=np.zeros((20, 40), np.float32),
        masks={"heart": mask},
    )
    rows, columns = np.nonzero(distort_annotation(annotation, "shifted").masks["heart"])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 14, 10, 14)
    assert np.argwhere(distort_annotation(annotation, "eroded").masks["heart"]).tolist() == [[10, 10]]
    # A disk of radius 2 around a square of 5: each side by 2, and one pixel in each corner.
    assert distort_annotation(annotation, "dilated").masks["heart"].sum() == 25 + 4 * 10 + 4 * 1
