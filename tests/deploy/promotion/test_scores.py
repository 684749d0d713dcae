"""Scores of one model on the gate's images."""

import numpy as np
import pytest
import torch
from torch import nn

from medprior.cohort import Cohort
from medprior.deploy.promotion.promote import build_gate_study
from medprior.deploy.promotion.scores import count_nonfinite_images, find_shared_labels, score_model
from medprior.errors import InputMissing
from medprior.evaluate.sections.models import postprocess_masks
from medprior.finetune.model import Model
from medprior.metrics.auc import compute_auc
from medprior.metrics.calibration import compute_ece
from medprior.metrics.overlap import compute_dice
from tests.deploy.promotable import FAST_GATE
from tests.evaluate.untrained import build_untrained_model


def model_of(task: str, *labels: str) -> Model:
    """A model of the given outputs whose network returns what it is given."""
    ones = np.ones(len(labels))
    return Model(nn.Identity(), task, labels, 64, 64, ones, ones, {}, {})


def test_images_are_counted_once_however_many_of_their_outputs_are_not_finite():
    model = model_of("segmentation", "heart")
    outputs = torch.zeros(4, 1, 2, 2)
    outputs[1] = float("nan")
    outputs[3, 0, 1, 0] = -float("inf")
    with count_nonfinite_images(model) as counts:
        model.network(outputs)
        model.network(outputs[:1])
    model.network(outputs)
    assert counts == [2, 0]


@pytest.mark.parametrize(("task", "kind"), [("classification", "label"), ("segmentation", "mask")])
def test_what_both_models_and_the_cohort_have_is_judged_in_the_challengers_order(phantom_cohort, task, kind):
    study = build_gate_study(phantom_cohort, "test", FAST_GATE)
    cohort = Cohort.open(phantom_cohort)
    first, second, *_ = cohort.label_names if task == "classification" else cohort.structures
    new, old = model_of(task, second, "unheard_of", first), model_of(task, first, second, "unheard_of")
    assert find_shared_labels(study, [new, old]) == [second, first]
    assert find_shared_labels(study, [new, model_of(task, first)]) == [first]
    with pytest.raises(InputMissing, match=f"has no {kind} that the models predict"):
        find_shared_labels(study, [new, model_of(task, "unheard_of")])


@pytest.fixture(scope="module")
def study(phantom_cohort):
    return build_gate_study(phantom_cohort, "test", FAST_GATE)


def test_findings_are_scored_by_name_and_not_by_place(study):
    model = build_untrained_model(["unheard_of", "cardiomegaly", "pleural_effusion"])
    known = [name for name in ("pleural_effusion", "cardiomegaly") if name in study.cohort.label_names]
    scores = score_model(study, model, known)
    truth, probability = study.part.labels(known), model.predict_cohort(study.part)
    columns = [model.labels.index(name) for name in known]
    aucs = [compute_auc(truth[:, k], probability[:, column]) for k, column in enumerate(columns)]
    eces = [compute_ece(truth[:, k], probability[:, column], 15) for k, column in enumerate(columns)]
    assert (scores.key, scores.nonfinite_images) == ("classification.mauc", 0)
    assert scores.quality.value == pytest.approx(np.nanmean(aucs))
    assert scores.ece.value == pytest.approx(np.nanmean(eces))
    assert set(scores.record()) == {"classification.mauc", "classification.ece", "images_without_finite_output"}


def test_masks_are_scored_by_their_mean_dice_alone(study):
    model = build_untrained_model(["heart", "left_lung"], task="segmentation")
    scores = score_model(study, model, ["left_lung"])
    maps = model.predict_cohort(study.part)
    truth = study.part.mask_squares("left_lung", maps.shape[-1])[0] >= 0.5
    predicted = postprocess_masks(model, "left_lung", maps)
    assert (scores.key, scores.ece, scores.nonfinite_images) == ("segmentation.dice.mean", None, 0)
    assert scores.quality.value == pytest.approx(compute_dice(predicted, truth).mean())


def test_no_distance_is_measured_for_the_gate(study, monkeypatch):
    """Hausdorff distances would take most of a promotion's time, and no check asks for them."""
    monkeypatch.setattr("medprior.evaluate.sections.segmentation.compute_hausdorff95", None)
    assert score_model(study, build_untrained_model(["heart"], task="segmentation"), ["heart"]).quality.n > 0


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_outputs_that_are_not_finite_have_no_score(study, task):
    names = ["cardiomegaly"] if task == "classification" else ["heart"]
    model = build_untrained_model(names, task=task)
    with torch.no_grad():
        next(iter(model.network.parameters())).fill_(float("nan"))
    scores = score_model(study, model, names)
    assert (scores.quality, scores.ece) == (None, None)
    assert scores.nonfinite_images == len(study.part)
    assert scores.record() == {"images_without_finite_output": len(study.part)}
