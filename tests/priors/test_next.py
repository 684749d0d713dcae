"""The image to draw next: plausible, and unlike what is drawn."""

import numpy as np
import pandas as pd
import pytest

from medprior.annotate.typicality import rank_pixels, sort_by_typicality
from medprior.cohort import CohortWriter
from medprior.priors import doubtful_images
from medprior.priors.doubtful_images import SQUARE_SIZE_PX, suggest_next_examples

from .conftest import noise, thorax

QUIET = pd.DataFrame({"image_id": [], "doubt": []})


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """Forty thoraxes and three pictures of noise, all of them training images."""
    with CohortWriter(tmp_path_factory.mktemp("crowd") / "cohort") as writer:
        for seed in range(40):
            writer.add(image_id=f"t{seed:03d}", pixels=thorax(seed)[0], patient_id=f"p{seed}")
        for seed in range(3):
            writer.add(image_id=f"noise{seed}", pixels=noise(seed), patient_id=f"n{seed}")
        writer.finish(fractions=(1.0, 0.0, 0.0))
    from medprior.cohort import Cohort

    return Cohort.open(writer.path)


def pictures(cohort, *names):
    return np.stack([np.asarray(cohort.select([name]).squares(SQUARE_SIZE_PX))[0] for name in names])


def test_the_least_alike_of_the_typical_ones_is_asked_for(crowd):
    offers = suggest_next_examples(crowd, pictures(crowd, "t000"), QUIET, seed=0)
    assert len(offers) == 3
    ids, rows = crowd.image_ids, rank_pixels(np.asarray(crowd.squares(SQUARE_SIZE_PX)))
    pool = [ids[row] for row in sort_by_typicality(rows)[: doubtful_images.MIN_TYPICAL_IMAGES]]
    own, drawn = dict(zip(ids, rows, strict=True)), ["t000"]
    for offer in offers:
        alike = {name: max(float(own[name] @ own[one]) for one in drawn) for name in pool}
        assert offer["image_id"] == min(alike, key=alike.get)
        assert offer["alike"] == pytest.approx(alike[offer["image_id"]], abs=1e-3)
        nearer = [n for n in ids if own[n] @ own[offer["image_id"]] > max(own[n] @ own[d] for d in drawn)]
        assert (offer["nearer"], offer["of"]) == (len(nearer), 43)
        drawn.append(offer["image_id"])


def test_outliers_are_not_asked_for_although_they_are_farthest(crowd, monkeypatch):
    def asked():
        return [o["image_id"] for o in suggest_next_examples(crowd, pictures(crowd, "t000"), QUIET, 0)]

    assert not any(name.startswith("noise") for name in asked())
    monkeypatch.setattr(doubtful_images, "TYPICAL_FRACTION", 1.0)
    assert asked()[0].startswith("noise")


def test_it_says_how_many_doubtful_images_would_have_a_nearer_example(crowd):
    drawn = pictures(crowd, "t000")
    calm = suggest_next_examples(crowd, drawn, QUIET, 0)
    assert [offer["doubtful"] for offer in calm] == [0, 0, 0]
    table = pd.DataFrame({"image_id": crowd.image_ids, "doubt": ["lung_ratio"] * len(crowd)})
    doubtful = suggest_next_examples(crowd, drawn, table, 0)
    assert [o["doubtful"] for o in doubtful] == [o["nearer"] for o in calm]


def test_nothing_is_asked_for_where_all_plausible_ones_are_drawn(crowd, monkeypatch):
    monkeypatch.setattr(doubtful_images, "MIN_TYPICAL_IMAGES", 2)
    monkeypatch.setattr(doubtful_images, "TYPICAL_FRACTION", 0.0)
    first = sort_by_typicality(rank_pixels(np.asarray(crowd.squares(SQUARE_SIZE_PX))))[:2]
    both = pictures(crowd, *[crowd.image_ids[row] for row in first])
    assert suggest_next_examples(crowd, both, QUIET, 0) == []
