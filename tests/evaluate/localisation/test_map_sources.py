"""Priors as predictors, from real priors of one annotated image."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from medprior.annotate import annotate_from_cohort
from medprior.evaluate.compare.compare import load_priors
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.localisation.map_sources import PriorSource, resize_maps
from medprior.evaluate.settings import EvaluateSettings
from medprior.priors import PriorSettings, SpatialPrior, build_prior

SIZE = 48


@pytest.fixture(scope="module")
def annotated(cohort):
    """An image of the test split that has all three masks."""
    test = cohort.split("test")
    return next(i for i in test.image_ids if test.mask(i, "heart") is not None)


@pytest.fixture(scope="module")
def prior_paths(tmp_path_factory, cohort, annotated):
    root = tmp_path_factory.mktemp("priors")
    settings = PriorSettings.from_values({"size": 64, "registration": {"size": 32}})
    for method in ("static", "affine"):
        annotation = annotate_from_cohort(cohort, annotated)
        build_prior(cohort, root / method, annotation, method, settings, workers=1)
    return {"static": root / "static", "fitted": root / "affine"}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, cohort, span_path, prior_paths):
    out = tmp_path_factory.mktemp("judged")
    settings = EvaluateSettings.from_values({"resamples": 50, "map_size": SIZE, "probe": False})
    metrics = evaluate_cohort(cohort, out, backbone=("span", span_path), prior=prior_paths.items(), settings=settings)
    return metrics, pd.read_parquet(out / "predictions.parquet"), out


def test_the_annotated_image_is_left_out(evidence, cohort, annotated, prior_paths):
    metrics, table, _ = evidence
    test = cohort.split("test")
    assert annotated not in set(table.image_id)
    assert len(table) == len(test) - 1 == metrics["data.images.evaluated"]["value"]
    static = prior_paths["static"]
    priors = load_priors([None, static, static])
    assert [named.item.excluded for named in priors] == [{annotated}]


def test_static_and_fitted_priors_have_their_own_keys(evidence):
    metrics, table, _ = evidence
    for name in ("heart", "left_lung", "right_lung"):
        for prefix in ("prior", "registered_prior"):
            record = metrics[f"{prefix}.pixel_ap.{name}"]
            assert record["value"] == pytest.approx(table[f"{prefix}_pixel_ap_{name}"].mean())
            assert record["choice"] == "assigned"
        gap = metrics[f"attention.pixel_ap.{name}"]["value"]
        gap -= metrics[f"registered_prior.pixel_ap.{name}"]["value"]
        key = f"difference.registered_prior.attention.pixel_ap.{name}"
        assert metrics[key]["value"] == pytest.approx(gap)
    assert metrics["prior.pixel_ap.mean"]["value"] > 0.5
    assert metrics["registered_prior.pixel_ap.mean"]["value"] > 0.5


def test_one_image_by_hand(evidence, cohort, prior_paths):
    _, table, _ = evidence
    row = table[table.prior_pixel_ap_heart.notna()].iloc[0]
    truth = cohort.select([row.image_id]).mask_squares("heart", SIZE)[0][0] >= 0.5
    for prefix, path in (("prior", "static"), ("registered_prior", "fitted")):
        prior = SpatialPrior.load(prior_paths[path])
        maps = resize_maps(prior.batch([row.image_id]), SIZE)[0, prior.names.index("heart")]
        expected = average_precision_score(truth.ravel(), maps.ravel())
        assert row[f"{prefix}_pixel_ap_heart"] == pytest.approx(expected, abs=1e-6)


def test_sources_give_the_priors_own_maps(cohort, prior_paths):
    fitted = SpatialPrior.load(prior_paths["fitted"])
    some = cohort.split("val")
    own = np.concatenate(list(PriorSource(fitted, True, batch=5).batches(some, 64)))
    np.testing.assert_allclose(own, fitted.batch(some.image_ids), atol=1e-6)
    same = np.concatenate(list(PriorSource(fitted, False, batch=5).batches(some, 64)))
    assert (same == same[0]).all()
    assert same.shape == own.shape


def test_a_fitted_prior_alone_also_gives_the_static_baseline(tmp_path, cohort, prior_paths, evidence):
    settings = EvaluateSettings.from_values({"resamples": 20, "map_size": SIZE})
    metrics = evaluate_cohort(cohort, tmp_path, prior=prior_paths["fitted"], settings=settings)
    key = "prior.pixel_ap.mean"
    assert metrics[key]["value"] == pytest.approx(evidence[0][key]["value"])
    assert "registered_prior.pixel_ap.mean" in metrics
    assert not [name for name in metrics if name.startswith("attention.")]
    assert "static prior" in (tmp_path / "report.html").read_text()
