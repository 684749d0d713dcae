"""Cases of the prior bench."""

from medprior.bench.prior_cases import (
    build_sensitivity_cases,
    choose_few_examples,
    distort_annotation,
)
from medprior.priors.quality import summarise_quality
from medprior.priors.settings import PriorSettings


def test_few_are_training_images_and_other_examples_are_thirteen(thoraxes):
    from medprior.annotate import annotate_from_cohort
    from medprior.annotate.typicality import find_typical_annotated

    settings, first = PriorSettings(), annotate_from_cohort(thoraxes, find_typical_annotated(thoraxes))
    drawn = [one.image_id for one in choose_few_examples(thoraxes, first, settings)]
    assert len(set(drawn)) == 5
    assert set(drawn) <= set(thoraxes.split("train").image_ids)
    cases = list(build_sensitivity_cases(thoraxes, settings, examples=4))
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
