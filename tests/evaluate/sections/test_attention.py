"""Heads and priors against masks: who is primary, what is missing, and the columns."""

import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.sections.attention import (
    build_attention_columns,
    evaluate_attention,
    group_prior_sources,
    score_source_group,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.networks import Backbone
from medprior.priors import SpatialPrior
from tests.evaluate.localisation.drawn_maps import NoisyMasks

SETTINGS = EvaluateSettings.from_values({"resamples": 6, "map_size": 32, "selection_images": 10})


def name_prior(name, fitted):
    per_image = np.zeros((1, 1, 4, 4), np.uint8) if fitted else None
    maps = np.zeros((1, 4, 4), np.float32)
    return NamedInput(name, None, SpatialPrior(maps, ("heart",), "affine", "annotation", per_image=per_image))


def list_groups(*priors):
    return {
        prefix: [(name, source.per_image) for name, source in sources]
        for prefix, sources in group_prior_sources(priors).items()
    }


def test_static_and_fitted_priors_are_judged_apart():
    groups = list_groups(name_prior("a", True), name_prior("b", False), name_prior("c", True))
    assert groups == {"prior": [("b", False)], "registered_prior": [("a", True), ("c", True)]}


def test_without_a_static_prior_the_first_fitted_one_gives_its_common_maps():
    groups = list_groups(name_prior("a", True), name_prior("c", True))
    assert groups == {"prior": [("a", False)], "registered_prior": [("a", True), ("c", True)]}
    assert list_groups() == {"prior": [], "registered_prior": []}


def test_the_first_source_is_primary_and_a_missing_map_is_named(cohort):
    study = EvaluationStudy.of(cohort, "test", frozenset(), SETTINGS)
    targets = {"heart": ("heart",), "left_lung": ("left_lung",)}
    section = Section(extra={"targets": targets, "sources": {}, "localisations": {}})
    names = ["heart", "left_lung"]
    sources = [
        ("good", NoisyMasks(names, assigned=names, noise=0.01)),
        ("bad", NoisyMasks(["left_lung"], assigned=["left_lung"], has_selectable_maps=False, noise=9)),
    ]
    score_source_group(section, study, "attention", sources)
    assert section.skipped == ["attention bad: no map for heart"]
    assert set(section.columns) == {
        "attention_pixel_ap_heart", "attention_pixel_ap_left_lung", "attention_dice_heart", "attention_dice_left_lung",
        "bad.attention_pixel_ap_left_lung", "bad.attention_dice_left_lung",
    }  # fmt: skip
    assert section.estimates["difference.bad.attention.pixel_ap.left_lung"].value > 0.1
    assert list(section.extra["localisations"]) == ["attention:good", "attention:bad"]
    np.testing.assert_array_equal(
        section.columns["attention_pixel_ap_heart"], section.extra["localisations"]["attention:good"].ap["heart"]
    )
    assert build_attention_columns(section.extra["localisations"]["attention:bad"], "x").keys() == {
        "x_pixel_ap_left_lung", "x_dice_left_lung",
    }  # fmt: skip


@pytest.fixture
def bare_cohort(tmp_path):
    """Three images without masks."""
    with CohortWriter(tmp_path / "bare", store_size=16) as writer:
        for number in range(3):
            pixels = np.full((16, 16), number / 4, np.float32)
            writer.add(image_id=f"i{number}", pixels=pixels, patient_id=f"p{number}")
        writer.finish()
    return Cohort.open(tmp_path / "bare")


def test_organs_of_the_heads_without_masks_are_named(bare_cohort):
    study = EvaluationStudy.of(bare_cohort, "all", frozenset(), SETTINGS)
    backbone = Backbone(None, {"heart": 0, "background": 1}, 32, {})
    section = evaluate_attention(study, Inputs((NamedInput("span", None, backbone),), (), ()))
    assert section.skipped == ["heart: no masks in split all"]
    assert section.estimates == {}
