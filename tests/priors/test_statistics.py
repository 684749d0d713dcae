import json

import numpy as np
import pytest

from medprior.cohort import CohortWriter
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice
from medprior.priors import PriorSettings, build_prior
from medprior.priors.moments import accumulate_moments
from medprior.priors.settings import StatisticsSettings
from medprior.priors.statistics import compute_cohort_moments, find_lungs_and_heart

from .conftest import noise, thorax, write_cohort


def test_lungs_and_heart_are_found_without_a_label(tmp_path):
    cohort = write_cohort(tmp_path / "cohort", count=40, with_noise=False, with_masks=False)
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
    settings = PriorSettings.from_values({"method": "statistics", "statistics": {"regions": 5, "fit": False}})
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


def test_halves_find_the_same_regions(phantoms):
    halves = [accumulate_moments([phantoms[start::2]]) for start in (0, 1)]
    one, two = (find_lungs_and_heart(half, StatisticsSettings()) for half in halves)
    for name in ("left_lung", "right_lung"):
        overlap = (one[name] & two[name]).sum() / (one[name] | two[name]).sum()
        assert overlap > 0.85, name
