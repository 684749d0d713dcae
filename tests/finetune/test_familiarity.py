"""What tells pictures far from the training images: the score, its limit, its way to disk."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from medprior.finetune.familiarity import FEATURE_NAMES, FamiliarityDetector, Gaussian, compute_view_features
from medprior.finetune.model import load_finetuned_model
from medprior.finetune.training import finetune_model
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


@pytest.mark.parametrize(("count", "rate"), [(8, 1 / 9), (19, 0.05), (26, 1 / 27), (199, 0.05)])
def test_the_stated_rate_of_false_alarms_is_the_conformal_one(count, rate):
    rng = np.random.default_rng(count)
    found = FamiliarityDetector.fit(features(rng, 40), features(rng, count))
    assert found.false_alarm_rate == pytest.approx(rate)


def test_false_alarms_come_at_the_stated_rate_and_far_pictures_are_told():
    alarms, caught = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = FamiliarityDetector.fit(features(rng, 60), features(rng, 59))
        alarms += [one.is_far for one in found.assess(features(rng, 50))]
        caught += [one.is_far for one in found.assess(features(rng, 5, shift=4.0))]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.015)
    assert np.mean(caught) > 0.99


def test_tensors_there_and_back():
    rng = np.random.default_rng(1)
    found = FamiliarityDetector.fit(features(rng, 40), features(rng, 30))
    back = FamiliarityDetector.from_tensors(found.to_tensors())
    probe = features(rng, 10)
    assert np.allclose(back.scores(probe), found.scores(probe), rtol=1e-4, atol=1e-4)
    assert FamiliarityDetector.from_tensors({"linear.weight": torch.zeros(1)}) is None
    part = dict(list(found.to_tensors().items())[:4])
    with pytest.raises(KeyError):
        FamiliarityDetector.from_tensors(part)


def test_a_model_knows_its_pictures_and_not_others(cohort, tmp_path):
    model = load_finetuned_model(finetune_model(cohort, tmp_path / "m", "classification", settings=tiny()))
    assert model.familiarity is not None
    assert model.config["familiarity"]["threshold"] == pytest.approx(model.familiarity.threshold)
    own = [model.predict_pixels(scene(1000 + i)[0]).familiarity for i in range(30)]
    rng = np.random.default_rng(0)
    noise = [model.predict_pixels(rng.random((48, 40), dtype=np.float32)) for _ in range(5)]
    turned = [model.predict_pixels(1 - scene(2000 + i)[0]) for i in range(5)]
    assert np.mean([one.is_far for one in own]) < 0.35
    assert all(answer.familiarity.is_far for answer in noise + turned)
    images, _ = model.create_views(np.zeros((1, model.source_size, model.source_size)), np.ones(1))
    score = model.familiarity.assess(compute_view_features(model.vit(images), images))[0].score
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
