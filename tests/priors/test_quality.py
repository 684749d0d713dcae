import numpy as np
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.priors import SpatialPrior, build_prior
from medprior.priors.quality import (
    compute_image_scores,
    load_true_coverage,
    score_structure_maps,
    select_maps_by_structure,
    summarise_quality,
)

from .conftest import ellipse, thorax


def test_quality_of_two_lungs_counts_as_lungs(thoraxes, tmp_path):
    prior = build_prior(thoraxes, tmp_path, None, "statistics")
    scores = summarise_quality(prior, thoraxes.split("test"))
    assert set(scores) == {"left_lung", "right_lung", "heart", "lungs"}
    assert scores["lungs"]["pixel_ap"] > 0.6


def test_two_lungs_are_joined_only_where_the_cohort_has_joined_ones():
    names = ("heart", "left_lung", "right_lung")
    maps = np.array([0.2, 0.7, 0.4], np.float32).reshape(3, 1, 1)
    selected = select_maps_by_structure(maps, names, ("lungs", "left_lung"))
    assert {name: float(layer[0, 0]) for name, layer in selected.items()} == pytest.approx(
        {"left_lung": 0.7, "lungs": 0.7}
    )
    assert set(select_maps_by_structure(maps, names, ("heart",))) == {"heart"}
    assert not select_maps_by_structure(maps[:2], names[:2], ("lungs",))
    own = select_maps_by_structure(maps, ("lungs", "left_lung", "right_lung"), ("lungs",))
    assert own["lungs"][0, 0] == np.float32(0.2)


@pytest.fixture(scope="module")
def partly_drawn(tmp_path_factory):
    """Three images: both lungs are structures_drawn on the first, one lung on the second, none on the third."""
    path = tmp_path_factory.mktemp("partly") / "cohort"
    left, right = ellipse(0.7, 0.5, 0.1, 0.2), ellipse(0.3, 0.5, 0.1, 0.3)
    with CohortWriter(path) as writer:
        for number, masks in enumerate([{"left_lung": left, "right_lung": right}, {"left_lung": left}, {}]):
            writer.add(image_id=f"i{number}", pixels=thorax(number)[0], patient_id=f"p{number}", masks=masks)
        writer.finish(split={"i0": "train", "i1": "train", "i2": "train"})
    return Cohort.open(path)


def test_joined_lungs_are_known_where_both_are(partly_drawn):
    coverage, known = load_true_coverage(partly_drawn, "lungs", 32)
    assert known.tolist() == [True, False, False]
    left, left_known = load_true_coverage(partly_drawn, "left_lung", 32)
    assert left_known.tolist() == [True, True, False]
    assert coverage[0].sum() > 2 * left[0].sum()


def test_scores_are_of_known_structures_at_one_half(partly_drawn):
    maps, coverage = np.zeros((2, 3, 4, 4), np.float32)
    maps[:2, 0], coverage[:2, 0, :2] = 0.5, 0.5  # four pixels found, two of them true
    table = score_structure_maps(partly_drawn, maps, coverage, np.array([True, False, True]))
    assert table[["image_id", "patient_id"]].to_numpy().tolist() == [["i0", "p0"]]  # i2 is empty
    assert table.dice.tolist() == pytest.approx([2 / 3])
    assert table.pixel_ap.tolist() == pytest.approx([0.5])


def test_annotated_images_are_not_scored(partly_drawn):
    maps = np.ones((1, 32, 32), np.float32)
    prior = SpatialPrior(maps, ("left_lung",), "static", "annotation", frozenset({"i0"}))
    scores = compute_image_scores(prior, partly_drawn)
    assert {name: table.image_id.tolist() for name, table in scores.items()} == {"left_lung": ["i1"]}
    everything = SpatialPrior(maps, ("left_lung",), "static", "annotation", frozenset({"i0", "i1", "i2"}))
    assert compute_image_scores(everything, partly_drawn) == {}
    (summary,) = summarise_quality(prior, partly_drawn).values()
    size = load_true_coverage(partly_drawn, "left_lung", 32)[0][1] >= 0.5
    assert summary["dice"] == summary["dice_p5"] == pytest.approx(2 * size.sum() / (size.sum() + 1024), abs=1e-4)
    assert summary["pixel_ap"] == pytest.approx(size.mean(), abs=1e-4)
    assert summary["n"] == 1


def test_joined_lungs_are_scored_where_the_cohort_has_nothing_but_single_ones(partly_drawn):
    prior = SpatialPrior(np.ones((2, 32, 32), np.float32), ("left_lung", "right_lung"), "static", "annotation")
    scores = summarise_quality(prior, partly_drawn)
    assert {name: values["n"] for name, values in scores.items()} == {"left_lung": 2, "right_lung": 1, "lungs": 1}
    assert all(values[key] == round(values[key], 4) for values in scores.values() for key in ("dice", "pixel_ap"))
