import json

import numpy as np
import pytest

from medprior.cohort import CohortWriter
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice
from medprior.priors import PriorSettings, build_prior
from medprior.priors.moments import Moments, accumulate_moments, standardise_pictures
from medprior.priors.quality import summarise_quality
from medprior.priors.settings import StatisticsSettings
from medprior.priors.statistics import compute_cohort_moments, find_lungs_and_heart

from .conftest import noise, thorax, write_cohort

PICTURES = np.random.default_rng(3).random((50, 12, 12), dtype=np.float32)


def test_moments_are_those_of_numpy():
    values = PICTURES.astype(np.float64)
    found = Moments.of(values)
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.deviation, values.std(axis=0))
    edges = [np.hypot(*np.gradient(picture)) for picture in values]
    np.testing.assert_allclose(found.edge, np.mean(edges, axis=0))


@pytest.mark.parametrize("cuts", [[25], [1, 2, 3], [7, 20, 49], range(1, 50)])
def test_batches_and_order_do_not_matter(cuts):
    whole = accumulate_moments([PICTURES])
    parts = accumulate_moments(np.split(PICTURES, list(cuts)))
    back = accumulate_moments(np.split(PICTURES[::-1], list(cuts)))
    for other in (parts, back):
        assert other.count == 50
        for name in ("mean", "squares", "edge"):
            np.testing.assert_allclose(getattr(other, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_merging_keeps_small_deviations_on_a_large_mean():
    values = 1e8 + np.random.default_rng(0).normal(0, 1e-2, (400, 2, 2))
    total = Moments.of(values[:100]).merge(Moments.of(values[100:]))
    np.testing.assert_allclose(total.deviation, values.std(axis=0), rtol=1e-6)


def test_exposure_does_not_count():
    bright = PICTURES * 0.5 + 0.4
    np.testing.assert_allclose(standardise_pictures(bright), standardise_pictures(PICTURES), atol=1e-5)
    assert np.isfinite(standardise_pictures(np.full((1, 8, 8), 0.3, np.float32))).all()


def test_lungs_and_heart_are_found_without_a_label(tmp_path):
    cohort = write_cohort(tmp_path / "cohort", count=40, with_noise=False, drawn=False)
    prior = build_prior(cohort, tmp_path / "prior", None, "statistics")
    assert (prior.names, prior.source) == (("left_lung", "right_lung", "heart"), "statistics")
    assert prior.excluded == frozenset()
    assert prior.facts["images_averaged"] == len(cohort.split("train"))
    _, truth = thorax(0)
    for layer, name in zip(prior.maps, prior.names, strict=True):
        assert compute_dice(layer >= 0.5, truth[name]) > (0.5 if name == "heart" else 0.75), name
    assert prior.maps[0, :, 64:].sum() > 0.95 * prior.maps[0].sum()
    assert prior.maps[1, :, :64].sum() > 0.95 * prior.maps[1].sum()
    assert prior.facts["split_half_iou"] > 0.6
    assert prior.facts["registered"]["deformable"] > 30
    wide, high = thorax(3)[1]["left_lung"], prior.maps_for(cohort.image_ids[3])
    assert compute_dice(high[0] >= 0.5, wide) > compute_dice(prior.maps[0] >= 0.5, wide)
    assert json.loads((tmp_path / "prior" / "config.json").read_text())["stage"] == "prior"


def test_statistics_look_at_the_training_split_only(thoraxes):
    settings = StatisticsSettings()
    halves = compute_cohort_moments(thoraxes, settings)
    assert sum(half.count for half in halves) == len(thoraxes.split("train"))


def test_regions_without_a_name(thoraxes, tmp_path):
    settings = PriorSettings.checked({"method": "statistics", "statistics": {"regions": 5, "fit": False}})
    prior = build_prior(thoraxes, tmp_path, None, settings=settings)
    assert prior.names == tuple(f"region_{n}" for n in range(1, 6))
    assert prior.per_image is None
    middle = prior.maps[:, 4:-4, 4:-4]
    assert (middle.max(axis=0) > 0.1).all()
    centre = [(layer * np.arange(128)[:, None]).sum() / layer.sum() for layer in prior.maps]
    assert centre == sorted(centre)


def test_halves_of_a_cohort_agree():
    pictures = np.stack([thorax(seed)[0] for seed in range(1, 121)])
    settings = StatisticsSettings()
    one, two = (find_lungs_and_heart(accumulate_moments([half]), settings) for half in (pictures[:60], pictures[60:]))
    for name in ("left_lung", "right_lung"):
        assert compute_dice(one[name], two[name]) > 0.9


def test_pictures_without_lungs_are_refused(tmp_path):
    with CohortWriter(tmp_path / "c") as writer:
        for seed in range(6):
            writer.add(image_id=f"n{seed}", pixels=noise(seed), patient_id=f"{seed}")
        writer.finish(split={f"n{seed}": "train" for seed in range(6)})
    with pytest.raises(MedpriorError, match="no two lungs"):
        build_prior(tmp_path / "c", tmp_path / "p", None, "statistics")


def test_quality_of_two_lungs_counts_as_lungs(thoraxes, tmp_path):
    prior = build_prior(thoraxes, tmp_path, None, "statistics")
    scores = summarise_quality(prior, thoraxes.split("test"))
    assert set(scores) == {"left_lung", "right_lung", "heart", "lungs"}
    assert scores["lungs"]["pixel_ap"] > 0.6
