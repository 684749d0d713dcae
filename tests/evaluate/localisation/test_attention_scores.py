"""Attention scores per image, of a backbone or of the transformer inside a classifier."""

import numpy as np
import pytest

from medprior.evaluate.localisation.attention import AttentionSource
from medprior.evaluate.localisation.attention_entropy import compute_free_head_entropy
from medprior.evaluate.localisation.attention_scores import extract_backbone, score_attention
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.model import load_finetuned_model
from medprior.metrics.pixel_ap import compute_pixel_ap
from medprior.networks import load_backbone
from tests.evaluate.slow_twins import slow_scatter
from tests.evaluate.untrained import build_untrained_model


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
    settings = EvaluateSettings.from_values({"resamples": 4, "map_size": 32})
    study = EvaluationStudy.of(cohort, "test", frozenset(), settings)
    scores = score_attention(extract_backbone(load_finetuned_model(model_paths["ours"])), study)
    assert set(scores) == {"spatial_entropy", "ap.left_lung", "ap.right_lung", "ap.heart"}
    assert all(values.shape == (len(study.part),) for values in scores.values())


def test_a_cnn_has_no_backbone_and_a_transformer_gives_its_own():
    assert extract_backbone(build_untrained_model(["spot"], "test_resnet")) is None
    model = build_untrained_model(["spot"], heads={"heart": 2})
    backbone = extract_backbone(model)
    assert backbone.network is model.network.vit
    assert (backbone.heads, backbone.size) == ({"heart": 2}, 32)
    assert backbone.heads is not model.heads


def test_scores_are_those_of_the_assigned_head(cohort, span_path):
    """The heart is on head 2; one image against the map of that head."""
    backbone = load_backbone(span_path)
    settings = EvaluateSettings.from_values({"resamples": 4, "map_size": 32, "device": "cpu"})
    study = EvaluationStudy.of(cohort, "test", frozenset(), settings)
    scores = score_attention(backbone, study)
    row = int(np.flatnonzero(~np.isnan(scores["ap.heart"]))[0])
    one = study.part.select([study.part.image_ids[row]])
    maps = next(AttentionSource(backbone, device="cpu").batches(one, 32))[0]
    truth = one.mask_squares("heart", 32)[0] >= 0.5
    assert scores["ap.heart"][row] == pytest.approx(compute_pixel_ap(maps[2:3], truth)[0, 0])
