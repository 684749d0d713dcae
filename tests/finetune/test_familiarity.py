"""What tells pictures far from the training images: the score, its limit, its way to disk."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from medprior.finetune import familiarity
from medprior.finetune.familiarity import (
    FEATURE_NAMES,
    Gaussian,
    OutOfDistributionDetector,
    OutOfDistributionScore,
    extract_cohort_ood_features,
    extract_ood_features,
    fit_ood_detector,
)
from medprior.finetune.model import load_finetuned_model
from medprior.finetune.training import finetune_model
from medprior.networks.encoder import Tokens
from tests.finetune.conftest import make_cohort, scene, tiny


def features(rng, count, shift=0.0):
    return {name: rng.normal(shift, 1, (count, 6)) @ np.diag([3, 2, 1, 1, 1, 1.0])
            for name in FEATURE_NAMES}  # fmt: skip


def test_the_distance_is_mahalanobis_under_its_own_covariance():
    rng = np.random.default_rng(0)
    x = rng.normal(0, [5, 3, 1, 1, 1], (400, 5))
    fitted = Gaussian.fit(x, rank=2)
    rest = np.eye(5) - fitted.axes.T @ fitted.axes
    covariance = fitted.axes.T @ np.diag(fitted.variance) @ fitted.axes + float(fitted.rest) * rest
    inverse = np.linalg.inv(covariance)
    want = [mahalanobis(row, fitted.mean, inverse) for row in x[:20]]
    assert np.allclose(fitted.distance(x[:20]), want)
    assert np.allclose(np.diag(covariance), [25, 9, 1, 1, 1], rtol=0.25)


def test_directions_that_never_vary_have_a_millionth_of_the_largest_variance():
    x = np.zeros((9, 4))
    x[:, 0] = 10 * np.arange(9)
    fitted = Gaussian.fit(x, rank=1)
    assert float(fitted.rest) == pytest.approx(1e-6 * x[:, 0].var(ddof=1))
    away = fitted.mean[None] + np.array([0, 0.5, 0, 0])
    assert fitted.distance(away)[0] == pytest.approx(0.5 / np.sqrt(fitted.rest))


@pytest.mark.parametrize(("count", "rate"), [(8, 1 / 9), (19, 0.05), (26, 1 / 27), (199, 0.05)])
def test_the_stated_rate_of_false_alarms_is_the_conformal_one(count, rate):
    rng = np.random.default_rng(count)
    found = OutOfDistributionDetector.fit(features(rng, 40), features(rng, count))
    assert found.false_alarm_rate == pytest.approx(rate)


def test_false_alarms_come_at_the_stated_rate_and_far_pictures_are_told():
    alarms, caught = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = OutOfDistributionDetector.fit(features(rng, 60), features(rng, 59))
        alarms += [one.is_out_of_distribution for one in found.assess(features(rng, 50))]
        caught += [one.is_out_of_distribution for one in found.assess(features(rng, 5, shift=4.0))]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)
    assert np.mean(caught) > 0.99


def test_tensors_there_and_back():
    rng = np.random.default_rng(1)
    found = OutOfDistributionDetector.fit(features(rng, 40), features(rng, 30))
    back = OutOfDistributionDetector.from_tensors(found.to_tensors())
    probe = features(rng, 10)
    assert np.allclose(back.scores(probe), found.scores(probe), rtol=1e-4, atol=1e-4)
    assert OutOfDistributionDetector.from_tensors({"linear.weight": torch.zeros(1)}) is None
    part = dict(list(found.to_tensors().items())[:4])
    with pytest.raises(KeyError):
        OutOfDistributionDetector.from_tensors(part)


def test_a_model_knows_its_pictures_and_not_others(cohort, tmp_path):
    model = load_finetuned_model(finetune_model(cohort, tmp_path / "m", "classification", settings=tiny()))
    assert model.familiarity is not None
    assert model.config["familiarity"]["threshold"] == pytest.approx(model.familiarity.threshold)
    own = [model.predict_pixels(scene(1000 + i)[0]).familiarity for i in range(30)]
    rng = np.random.default_rng(0)
    noise = [model.predict_pixels(rng.random((48, 40), dtype=np.float32)) for _ in range(5)]
    turned = [model.predict_pixels(1 - scene(2000 + i)[0]) for i in range(5)]
    assert np.mean([one.is_out_of_distribution for one in own]) < 0.35
    assert all(answer.familiarity.is_out_of_distribution for answer in noise + turned)
    images, _ = model.create_views(np.zeros((1, model.source_size, model.source_size)), np.ones(1))
    score = model.familiarity.assess(extract_ood_features(model.vit(images), images))[0].score
    square = np.zeros((64, 64), np.float32)
    assert model.predict_pixels(square).familiarity.score == pytest.approx(score, rel=1e-3)


def test_the_same_run_gives_the_same_limit(cohort, tmp_path):
    one = finetune_model(cohort, tmp_path / "a", "segmentation", settings=tiny(epochs=1))
    two = finetune_model(cohort, tmp_path / "b", "segmentation", settings=tiny(epochs=1))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()


def test_too_few_images_are_said_to_be_too_few(tmp_path):
    few = make_cohort(tmp_path / "few", count=20, per_patient=1)
    model = load_finetuned_model(finetune_model(few, tmp_path / "m", "segmentation", settings=tiny(epochs=1)))
    assert model.familiarity is None
    assert model.config["familiarity"] is None
    assert model.predict_pixels(scene(0)[0]).familiarity is None


def test_a_score_at_the_limit_is_familiar():
    assert not OutOfDistributionScore(2.0, 2.0, 0.05).is_out_of_distribution
    assert OutOfDistributionScore(2.0 + 1e-9, 2.0, 0.05).is_out_of_distribution
    assert OutOfDistributionScore(1.23456789, 2, 1 / 27).record() == {
        "score": 1.234568, "threshold": 2, "false_alarm_rate": 0.037037,
    }  # fmt: skip


def test_the_limit_is_the_conformal_order_statistic():
    """Nine validation images at a rate of 0.3: the seventh smallest score, three of ten beyond it."""
    rng = np.random.default_rng(5)
    train, val = features(rng, 40), features(rng, 9)
    detector = OutOfDistributionDetector.fit(train, val, rate=0.3)
    scores = sorted(detector.scores(val))
    assert detector.threshold == pytest.approx(scores[6])
    assert detector.false_alarm_rate == pytest.approx(0.3)
    assert OutOfDistributionDetector.fit(train, val, rate=0.01).threshold == pytest.approx(scores[8])


def test_scores_are_in_units_of_the_validation_spread():
    rng = np.random.default_rng(6)
    train, val = features(rng, 40), features(rng, 31)
    detector = OutOfDistributionDetector.fit(train, val)
    distances = np.stack([detector.gaussians[name].distance(val[name]) for name in FEATURE_NAMES], axis=1)
    middle = np.median(distances, axis=0)
    spread = 1.4826 * np.median(np.abs(distances - middle), axis=0)
    z = (distances - middle) / spread
    np.testing.assert_allclose(detector.scores(val), 0.8 * z[:, 0] + 0.1 * z[:, 1] + 0.1 * z[:, 2])


def test_the_tokens_count_eight_times_as_much_as_either_other_feature():
    """Each feature alone far away, by the same distance: tokens 0.8 of it, thumbnail and greys 0.1 of it."""
    gaussian = Gaussian(np.zeros(2), np.eye(2)[:1], np.ones(1), np.asarray(1.0))
    detector = OutOfDistributionDetector(dict.fromkeys(FEATURE_NAMES, gaussian), np.zeros(3), np.ones(3), 1.0, 0.05)
    far = {name: np.array([[10.0, 0.0] if name == moved else [0.0, 0.0] for moved in FEATURE_NAMES])
           for name in FEATURE_NAMES}  # fmt: skip
    np.testing.assert_allclose(detector.scores(far), [8, 1, 1])


def test_a_model_without_stored_weights_takes_the_plain_mean():
    rng = np.random.default_rng(8)
    tensors = OutOfDistributionDetector.fit(features(rng, 40), features(rng, 30)).to_tensors()
    probe = features(rng, 10)
    weighted = OutOfDistributionDetector.from_tensors(tensors)
    assert weighted.weights == pytest.approx((0.8, 0.1, 0.1))
    del tensors["familiarity.weights"]
    plain = OutOfDistributionDetector.from_tensors(tensors)
    distances = np.stack([plain.gaussians[name].distance(probe[name]) for name in FEATURE_NAMES], axis=1)
    np.testing.assert_allclose(plain.scores(probe), ((distances - plain.middle) / plain.spread).mean(axis=1))


def test_features_tell_rows_from_columns():
    """Rows of 0 and 1 by turns: neighbours differ by 1 down the image and by 0 across it."""
    images = torch.zeros(1, 1, 24, 24)
    images[:, :, 1::2] = 1
    tokens = Tokens(torch.zeros(1, 2), torch.arange(18.0).reshape(1, 9, 2), (3, 3))
    found = extract_ood_features(tokens, images)
    assert {name: value.shape for name, value in found.items()} == {
        "tokens": (1, 18), "thumbnail": (1, 144), "greys": (1, 11),
    }  # fmt: skip
    np.testing.assert_allclose(found["tokens"][0], [*range(0, 18, 2), *range(1, 18, 2)])
    np.testing.assert_allclose(found["thumbnail"], 0.5)
    np.testing.assert_allclose(found["greys"][0, [0, 3, 5, 8]], [0, 0, 1, 1])
    np.testing.assert_allclose(found["greys"][0, 9:], np.log([1.0001, 0.0001]), atol=1e-3)


def test_a_gaussian_has_at_most_half_as_many_directions_as_rows():
    rng = np.random.default_rng(7)
    for count, width, rank, directions in ((9, 20, 64, 4), (400, 5, 64, 4), (400, 30, 7, 7), (2, 6, 64, 1)):
        fitted = Gaussian.fit(rng.normal(size=(count, width)), rank=rank)
        assert fitted.axes.shape == (directions, width)
        assert (fitted.variance >= fitted.rest).all()


def test_a_detector_needs_five_images_of_either_split(cohort, vit_folders):
    vit = load_finetuned_model(vit_folders / "classification").vit
    few, enough = cohort.take(4), cohort.take(5)
    device = torch.device("cpu")
    assert fit_ood_detector(vit, few, enough, 32, 40, device) is None
    assert fit_ood_detector(vit, enough, few, 32, 40, device) is None
    assert fit_ood_detector(vit, enough, enough, 32, 40, device) is not None


def test_of_many_images_evenly_spaced_ones_are_used(cohort, vit_folders, monkeypatch):
    vit = load_finetuned_model(vit_folders / "classification").vit
    device = torch.device("cpu")
    whole = extract_cohort_ood_features(vit, cohort, 32, 40, device)
    assert len(whole["greys"]) == 60
    monkeypatch.setattr(familiarity, "MAX_IMAGES", 4)
    part = extract_cohort_ood_features(vit, cohort, 32, 40, device)
    np.testing.assert_allclose(part["greys"], whole["greys"][[0, 20, 39, 59]], atol=1e-6)
