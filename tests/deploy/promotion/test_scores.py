"""Scores of one model on the gate's images."""

import numpy as np
import pytest
import torch
from torch import nn

from medprior.cohort import Cohort
from medprior.deploy.promotion.promote import build_gate_study, promote_challenger
from medprior.deploy.promotion.scores import count_nonfinite_images, find_shared_labels
from medprior.errors import InputMissing
from medprior.finetune.model import Model
from tests.deploy.promotable import FAST_GATE


def test_the_evidence_is_what_evaluate_measures(filled_uri, discs, disc_models, tmp_path):
    from medprior.evaluate.evaluate import evaluate_cohort
    from medprior.evaluate.settings import EvaluateSettings

    facts = promote_challenger("cxr", discs, "@good", settings=FAST_GATE, tracking_uri=filled_uri)
    metrics = evaluate_cohort(
        discs, tmp_path / "evidence", model=disc_models["good"], settings=EvaluateSettings(resamples=300)
    )
    found = facts["numbers"]["classification"]["challenger"]
    for key in ("classification.mauc", "classification.ece"):
        assert found[key]["value"] == pytest.approx(metrics[key]["value"], abs=1e-9)
        assert found[key]["ci95"] == pytest.approx(metrics[key]["ci95"], abs=1e-9)


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
