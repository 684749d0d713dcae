"""How far free heads scatter, against regions walked one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from medprior.evaluate.localisation.attention_entropy import compute_free_head_entropy
from medprior.evaluate.localisation.attention_scores import extract_backbone, score_attention
from medprior.finetune.model import load_finetuned_model
from medprior.metrics.bootstrap import Estimate
from medprior.metrics.differences import compute_relative_differences
from medprior.networks import load_backbone
from medprior.networks.cohort_attention import iterate_whole_views


def slow_spatial_entropy(logits):
    """Flood fill of what lies above the mean, then the entropy of the regions' mass."""
    above = logits - logits.mean()
    waiting = {tuple(at) for at in np.argwhere(above > 0)}
    masses = []
    while waiting:
        edge, mass = [waiting.pop()], 0.0
        while edge:
            y, x = edge.pop()
            mass += above[y, x]
            around = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & waiting
            waiting -= around
            edge += around
        masses.append(mass)
    shares = np.array(masses) / np.sum(masses)
    return float(-(shares * np.log(shares)).sum())


def slow_scatter(network, cohort, size, free):
    found = []
    for images, _ in iterate_whole_views(cohort, size, network.settings.patch, 7, torch.device("cpu")):
        with torch.no_grad():
            tokens = network(images, capture=True)
        logits = tokens.cls_logits.double().numpy().reshape(len(images), -1, *tokens.grid)
        found += [np.mean([slow_spatial_entropy(one[head]) for head in free]) for one in logits]
    return np.array(found)


@pytest.mark.parametrize("batch", [3, 64])
def test_scatter_is_the_mean_entropy_of_free_heads(cohort, span_path, dino_path, batch):
    some = cohort.split("test").take(10, 0)
    for path, free in ((span_path, [3]), (dino_path, [0, 1, 2, 3])):
        backbone = replace(load_backbone(path), size=64)  # more patches, more regions
        torch.manual_seed(0)
        for values in backbone.network.parameters():
            values.data.normal_()
        fast = compute_free_head_entropy(backbone, some, batch, "cpu")
        assert fast.shape == (10,)
        slow = slow_scatter(backbone.network, some, backbone.size, free)
        np.testing.assert_allclose(fast, slow, atol=1e-5)
        assert fast.max() > 0


def test_without_a_free_head_nothing_is_measured(cohort, span_path):
    backbone = load_backbone(span_path)
    backbone.heads["mediastinum"] = 3
    found = compute_free_head_entropy(backbone, cohort.split("test").take(4, 0), 2, "cpu")
    assert found.shape == (4,)
    assert np.isnan(found).all()


def test_a_classifier_is_measured_as_its_transformer(cohort, model_paths):
    model = load_finetuned_model(model_paths["ours"])
    backbone = extract_backbone(model)
    some = cohort.split("test").take(6, 0)
    assert backbone.size == model.size
    np.testing.assert_allclose(
        compute_free_head_entropy(backbone, some, 4, "cpu"),
        slow_scatter(model.vit, some, model.size, range(4)),
        atol=1e-5,
    )


def test_attention_scores_name_targets_and_entropy(cohort, model_paths):
    from medprior.evaluate.settings import EvaluateSettings
    from medprior.evaluate.study import EvaluationStudy

    settings = EvaluateSettings.checked({"resamples": 4, "map_size": 32})
    study = EvaluationStudy.of(cohort, "test", frozenset(), settings)
    found = score_attention(extract_backbone(load_finetuned_model(model_paths["ours"])), study)
    assert set(found) == {"spatial_entropy", "ap.left_lung", "ap.right_lung", "ap.heart"}
    assert all(values.shape == (len(study.part),) for values in found.values())


def test_relative_difference_is_paired():
    rng = np.random.default_rng(0)
    base = rng.uniform(1, 2, 400)
    lower = Estimate(0.8 * 1.5, 0.8 * base, 9)
    key = "attention.spatial_entropy"
    found = compute_relative_differences(
        {key: lower, "classification.mauc": lower}, {"dino": {key: Estimate(1.5, base, 9)}}
    )
    assert list(found) == [f"relative_difference.dino.{key}"]
    (only,) = found.values()
    assert only.value == pytest.approx(-0.2)
    assert only.interval() == pytest.approx((-0.2, -0.2))
    none = lower.relative_difference(Estimate(0.0, np.zeros(400), 9))
    assert np.isnan(none.value)
    assert none.record()["ci95"] == [None, None]
