"""Classifiers and segmenters: common labels, columns, thresholds and what is left out."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medprior.errors import InputMissing
from medprior.evaluate.inputs import NamedInput
from medprior.evaluate.sections.models import (
    evaluate_classification,
    evaluate_segmentation,
    find_common_labels,
    fit_residual_temperatures,
    postprocess_masks,
    score_segmentation,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.calibration import fit_temperature
from medprior.metrics.overlap import compute_dice
from tests.evaluate.untrained import build_untrained_model


@pytest.fixture(scope="module")
def study(cohort):
    return EvaluationStudy.of(cohort, "test", frozenset(), EvaluateSettings.from_values({"resamples": 10}))


def name_models(*models):
    return [NamedInput(name, None, model) for name, model in zip("abc", models, strict=False)]


def test_labels_are_those_of_every_model_and_the_cohort_in_the_first_models_order(study):
    models = name_models(
        build_untrained_model(["never", "elsewhere", "effusion", "cardiomegaly"]),
        build_untrained_model(["cardiomegaly", "elsewhere", "never", "strange"]),
    )
    labels, skipped = find_common_labels(study, models)
    assert labels == ["never", "cardiomegaly"]
    assert [text.partition(":")[0] for text in skipped] == ["elsewhere", "effusion", "strange"]
    with pytest.raises(InputMissing, match="share no label"):
        find_common_labels(study, name_models(build_untrained_model(["elsewhere"])))


def test_outputs_and_thresholds_follow_the_label_names(study):
    first = build_untrained_model(["effusion", "elsewhere", "cardiomegaly"])
    second = build_untrained_model(["cardiomegaly", "effusion"], "cls_mean")
    first.threshold[:], second.threshold[:] = [0.2, 0.3, 0.4], [0.5, 0.6]
    section = evaluate_classification(study, name_models(first, second))
    assert section.extra["labels"] == ["effusion", "cardiomegaly"]
    assert section.extra["thresholds"]["a"].tolist() == [0.2, 0.4]
    assert section.extra["thresholds"]["b"].tolist() == [0.6, 0.5]
    probability = first.predict_cohort(study.part)
    np.testing.assert_array_equal(section.columns["probability_cardiomegaly"], probability[:, 2])
    np.testing.assert_array_equal(section.columns["b.probability_effusion"], second.predict_cohort(study.part)[:, 1])
    truth = section.columns["truth_effusion"]
    known = ~np.isnan(truth)
    auc = section.estimates["classification.auc.effusion"]
    assert auc.value == pytest.approx(roc_auc_score(truth[known], probability[known, 0]))
    assert 0 <= section.estimates["difference.b.classification.auc.effusion"].facts["delong_p"] <= 1


def test_residual_temperatures_are_fitted_on_selection_images(study):
    model = build_untrained_model(["cardiomegaly", "effusion"])
    temperatures = fit_residual_temperatures(study, model, ["effusion"], [1])
    probability = model.predict_cohort(study.selection)[:, 1].astype(np.float64)
    truth = study.selection.labels(["effusion"])[:, 0]
    expected = fit_temperature(np.log(probability / (1 - probability)), truth)
    assert temperatures == {"effusion": pytest.approx(expected, rel=1e-3)}
    assert fit_residual_temperatures(replace(study, selection=None), model, ["effusion"], [1]) == {}


def test_a_mask_is_at_or_above_the_structures_own_threshold_in_one_piece():
    model = build_untrained_model(["left_lung", "heart"], task="segmentation")
    model.threshold[:] = [0.9, 0.25]
    maps = np.zeros((1, 2, 20, 20), np.float32)
    maps[0, 1, 2:8, 2:8], maps[0, 1, 12:15, 12:15] = 0.25, 0.8
    masks = postprocess_masks(model, "heart", maps)
    assert masks.sum() == 36
    assert masks[0, 2:8, 2:8].all()
    assert not postprocess_masks(model, "left_lung", maps).any()


def test_structures_without_masks_are_named_and_unknown_images_are_nan(cohort):
    model = build_untrained_model(["heart", "spine"], task="segmentation")
    part = cohort.take(8, 0)
    scores, skipped = score_segmentation(part, model)
    assert skipped == ["spine: no masks in this split"]
    known = part.manifest["mask_heart"].notna().to_numpy()
    np.testing.assert_array_equal(~np.isnan(scores["heart"]["dice"]), known)
    row = int(np.flatnonzero(known)[-1])
    predicted = postprocess_masks(model, "heart", model.predict_cohort(part))
    truth = part.mask_squares("heart", 48)[0] >= 0.5
    assert scores["heart"]["dice"][row] == pytest.approx(compute_dice(predicted[row], truth[row]))


def test_columns_of_a_second_segmenter_have_its_name(study):
    models = [build_untrained_model(["left_lung", "heart"], task="segmentation") for _ in range(2)]
    section = evaluate_segmentation(study, name_models(*models))
    assert {"dice_heart", "b.dice_heart", "dice_left_lung"} <= set(section.columns)
    # The ratio needs both lungs.
    assert "cardiothoracic_ratio" not in section.columns
    assert section.estimates["difference.b.segmentation.dice.heart"].value == 0
