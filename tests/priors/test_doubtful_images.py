"""Doubtful maps, and the image to draw next: plausible, and unlike what is drawn."""

import numpy as np
import pandas as pd
import pytest

from medprior.annotate.typicality import rank_pixels, sort_by_typicality
from medprior.cohort import CohortWriter
from medprior.priors import doubtful_images
from medprior.priors.doubtful_images import (
    SQUARE_SIZE_PX,
    list_doubt_reasons,
    measure_mask_width,
    suggest_next_examples,
)

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
    own, chosen = dict(zip(ids, rows, strict=True)), ["t000"]
    for offer in offers:
        alike = {name: max(float(own[name] @ own[one]) for one in chosen) for name in pool}
        assert offer["image_id"] == min(alike, key=alike.get)
        assert offer["alike"] == pytest.approx(alike[offer["image_id"]], abs=1e-3)
        nearer = [n for n in ids if own[n] @ own[offer["image_id"]] > max(own[n] @ own[d] for d in chosen)]
        assert (offer["nearer"], offer["of"]) == (len(nearer), 43)
        chosen.append(offer["image_id"])


def test_outliers_are_not_asked_for_although_they_are_farthest(crowd, monkeypatch):
    def asked():
        return [o["image_id"] for o in suggest_next_examples(crowd, pictures(crowd, "t000"), QUIET, 0)]

    assert not any(name.startswith("noise") for name in asked())
    monkeypatch.setattr(doubtful_images, "TYPICAL_FRACTION", 1.0)
    assert asked()[0].startswith("noise")


def test_it_says_how_many_doubtful_images_would_have_a_nearer_example(crowd):
    chosen = pictures(crowd, "t000")
    calm = suggest_next_examples(crowd, chosen, QUIET, 0)
    assert [offer["doubtful"] for offer in calm] == [0, 0, 0]
    table = pd.DataFrame({"image_id": crowd.image_ids, "doubt": ["lung_ratio"] * len(crowd)})
    doubtful = suggest_next_examples(crowd, chosen, table, 0)
    assert [o["doubtful"] for o in doubtful] == [o["nearer"] for o in calm]


def test_nothing_is_asked_for_where_all_plausible_ones_are_drawn(crowd, monkeypatch):
    monkeypatch.setattr(doubtful_images, "MIN_TYPICAL_IMAGES", 2)
    monkeypatch.setattr(doubtful_images, "TYPICAL_FRACTION", 0.0)
    first = sort_by_typicality(rank_pixels(np.asarray(crowd.squares(SQUARE_SIZE_PX))))[:2]
    both = pictures(crowd, *[crowd.image_ids[row] for row in first])
    assert suggest_next_examples(crowd, both, QUIET, 0) == []


def test_reasons_to_doubt():
    names = ("heart", "left_lung", "right_lung")
    masks = thorax(0)[1]
    maps = np.stack([masks[name].astype(np.float32) for name in names])
    fine = {"trust": 1.0, "disagreement": 0.02}
    assert list_doubt_reasons(fine, maps, names) == []
    assert list_doubt_reasons({"trust": 0.5, "disagreement": 0.3}, maps, names) == [
        "registration",
        "disagreement",
    ]
    half = maps.copy()
    half[1, :75] = 0
    assert "lung_ratio" in list_doubt_reasons(fine, half, names)
    wide = maps.copy()
    wide[0, 90, 5:120] = 1
    assert list_doubt_reasons(fine, wide, names) == ["heart_ratio"]
    assert list_doubt_reasons(fine, np.zeros_like(maps), names) == ["empty"]


def chest(left_rows, right_rows, heart_columns):
    """Two lungs over 100 columns of given heights, and a heart of given width: [3, 200, 100]."""
    maps = np.zeros((3, 200, 100), np.float32)
    maps[0, :left_rows, 50:] = 1
    maps[1, :right_rows, :50] = 1
    maps[2, 190, :heart_columns] = 1
    return maps


@pytest.mark.parametrize(
    ("left", "right", "heart", "reasons"),
    [
        (40, 100, 50, []), (39, 100, 50, ["lung_ratio"]),
        (135, 100, 50, []), (136, 100, 50, ["lung_ratio"]),
        (100, 100, 23, []), (100, 100, 22, ["heart_ratio"]),
        (100, 100, 77, []), (100, 100, 78, ["heart_ratio"]),
        (39, 100, 78, ["lung_ratio", "heart_ratio"]), (0, 100, 50, ["empty"]),
    ],
)  # fmt: skip
def test_limits_of_lungs_and_heart(left, right, heart, reasons):
    record, names = {"trust": 1.0, "disagreement": 0.0}, ("left_lung", "right_lung", "heart")
    assert list_doubt_reasons(record, chest(left, right, heart), names) == reasons


def test_limits_of_trust_and_disagreement():
    maps = np.full((1, 4, 4), 0.5, np.float32)
    for trust, disagreement, reasons in [
        (1.0, 0.15, []), (1.0, 0.151, ["disagreement"]), (0.99, 0.15, ["registration"]),
    ]:  # fmt: skip
        record = {"trust": trust, "disagreement": disagreement}
        assert list_doubt_reasons(record, maps, ("spleen",)) == reasons
    assert list_doubt_reasons({"trust": 1.0, "disagreement": 0.0}, maps * 0.99, ("spleen",)) == ["empty"]


def test_a_width_counts_the_gap():
    mask = np.zeros((5, 12), bool)
    mask[1, 3], mask[4, 7] = True, True
    assert measure_mask_width(mask) == 5


def test_one_training_image_has_nothing_to_be_compared_with(crowd):
    assert suggest_next_examples(crowd.select(["t001"]), pictures(crowd, "t000"), QUIET, 0) == []
