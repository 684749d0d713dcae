"""The gate between challenger and champion."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from medprior.deploy.promotion.gate import (
    GateCheck,
    GateVerdict,
    build_gate_tags,
    compare_preprocessing_and_labels,
    compare_quality,
    compare_with_champion,
    format_difference,
    format_named_estimate,
)
from medprior.deploy.promotion.promote import build_gate_study
from medprior.deploy.promotion.scores import GateScores
from medprior.deploy.promotion.settings import GateSettings
from medprior.finetune.model import Model
from medprior.metrics.bootstrap import Estimate
from tests.evaluate.untrained import build_untrained_model


def steady_estimate(value: float, samples: list[float] | None = None) -> Estimate:
    """An estimate of 40 images whose resamples are all `value`, or those given."""
    return Estimate(value, np.array(samples if samples is not None else [value] * 40), 40)


def classifier_scores(auc: Estimate | None, ece: float | Estimate = 0.125) -> GateScores:
    """Scores of a classification model."""
    return GateScores("classification.mauc", auc, ece if isinstance(ece, Estimate) else steady_estimate(ece), 0)


def decide(task: str, new: GateScores, old: GateScores | None, **bounds) -> dict[str, bool]:
    """Name of each check of the gate -> whether it passed."""
    return {
        check.name.removeprefix(f"{task} "): check.passed
        for check in compare_quality(task, new, old, GateSettings(**bounds))
    }


def test_the_lower_end_of_the_difference_decides_and_not_the_difference():
    # 4 of 40 patients' draws are 0.25 worse: the difference is 0, its interval [-0.25, 0].
    new = classifier_scores(steady_estimate(0.75, [0.5] * 4 + [0.75] * 36))
    old = classifier_scores(steady_estimate(0.75))
    assert decide("classification", new, old, margin=0.125)["quality"] is False
    assert decide("classification", new, old, margin=0.5)["quality"] is True
    assert decide("classification", old, new, margin=0)["quality"] is False  # [0, +0.25] does not lie above 0


@pytest.mark.parametrize(
    ("new", "margin", "passed"),
    [
        (0.5, 0.25, False),
        (0.5, 0.2505, True),
        (1.0, 0.0, True),
        (0.75, 0.0, False),
        (0.75, 0.001, True),
    ],
)
def test_the_difference_is_challenger_less_champion_and_lies_above_the_margin(new, margin, passed):
    checks = decide(
        "classification",
        classifier_scores(steady_estimate(new)),
        classifier_scores(steady_estimate(0.75)),
        margin=margin,
    )
    assert checks == {"finite outputs": True, "quality": passed, "calibration": True}


def test_calibration_may_be_worse_by_its_margin_and_better_by_anything():
    champion = classifier_scores(steady_estimate(0.75), 0.25)
    for ece, margin, passed in ((0.375, 0.125, True), (0.375, 0.12, False), (0.0, 0.0, True)):
        challenger = classifier_scores(steady_estimate(0.75), ece)
        assert decide("classification", challenger, champion, ece_margin=margin)["calibration"] is passed


def test_calibration_is_judged_by_its_value_and_not_by_its_interval():
    wide = steady_estimate(0.25, [0.0] * 20 + [1.0] * 20)
    new, old = classifier_scores(steady_estimate(0.75), wide), classifier_scores(steady_estimate(0.75), 0.25)
    assert decide("classification", new, old, ece_margin=0)["calibration"] is True
    assert decide("classification", new, None, ece_most=0.25)["calibration"] is True
    skewed = classifier_scores(steady_estimate(0.75), steady_estimate(0.5, [0.0] * 20 + [1.0] * 20))
    assert decide("classification", skewed, old, ece_margin=0.125)["calibration"] is False


def test_a_first_champion_lies_above_chance_with_its_whole_interval():
    wide = steady_estimate(0.9, [0.5] * 4 + [0.9] * 36)
    assert decide("classification", classifier_scores(wide), None, least_auc=0.5)["quality"] is False
    assert decide("classification", classifier_scores(wide), None, least_auc=0.49)["quality"] is True
    checks = decide("classification", classifier_scores(steady_estimate(0.9), 0.25), None, ece_most=0.25)
    assert checks == {"finite outputs": True, "quality": True, "calibration": True}
    assert decide("classification", classifier_scores(steady_estimate(0.9), 0.26), None)["calibration"] is False


def test_a_first_segmenter_meets_the_bound_of_dice_and_has_no_calibration():
    scores = GateScores("segmentation.dice.mean", steady_estimate(0.5), None, 0)
    assert decide("segmentation", scores, None, least_auc=0.9, least_dice=0.25) == {
        "finite outputs": True,
        "quality": True,
    }
    assert decide("segmentation", scores, None, least_auc=0.1, least_dice=0.5)["quality"] is False


def test_outputs_that_are_not_finite_end_the_checks():
    broken = GateScores("classification.mauc", None, None, 3)
    (check,) = compare_quality("classification", broken, classifier_scores(steady_estimate(0.75)), GateSettings())
    assert (check.passed, check.text) == (False, "not on 3 image(s)")
    # A champion that measures nothing is judged like none: the bounds hold for the challenger.
    assert decide("classification", classifier_scores(steady_estimate(0.5)), broken)["quality"] is False


def model_of(labels: tuple[str, ...], **preprocessing) -> Model:
    """A model that is asked for its labels and its preprocessing alone."""
    ones = np.ones(len(labels))
    config = {"preprocessing": preprocessing}
    return Model(nn.Identity(), "classification", labels, 64, 64, ones, ones, {}, config)


def decide_inputs(old, new, **settings) -> list[tuple[str, bool]]:
    """Name and answer of each check of preprocessing and labels."""
    return [
        (c.name, c.passed)
        for c in compare_preprocessing_and_labels("classification", old, new, GateSettings(**settings))
    ]


def test_other_preprocessing_and_other_labels_are_allowed_each_by_its_own_switch():
    old, new = model_of(("a", "b"), size=64), model_of(("b", "a"), size=48, window=1)
    names = ("classification preprocessing", "classification names")
    for settings, answers in (
        ({}, (False, False)),
        ({"allow_preprocessing": True}, (True, False)),
        ({"allow_labels": True}, (False, True)),
    ):
        assert decide_inputs(old, new, **settings) == list(zip(names, answers, strict=True))
    assert decide_inputs(old, old) == [(name, True) for name in names]
    changes, labels = compare_preprocessing_and_labels("classification", old, new, GateSettings())
    assert changes.text == "size 64 -> 48, window None -> 1 (--allow-preprocessing accepts it)"
    assert labels.text == "champion a, b; challenger b, a (--allow-labels accepts it)"


def test_a_lost_task_needs_leave_and_a_new_one_does_not():
    model = model_of(("a",), size=64)
    assert decide_inputs(None, model) == [("classification names", True)]
    assert decide_inputs(model, None) == [("classification names", False)]
    assert decide_inputs(model, None, allow_labels=True) == [("classification names", True)]
    assert decide_inputs(model, None, allow_preprocessing=True) == [("classification names", False)]


def test_a_verdict_passes_when_it_has_checks_and_all_passed():
    good, bad = GateCheck("quality", True, "fine"), GateCheck("calibration", False, "0.3; at most 0.2")
    assert not GateVerdict().passed
    assert GateVerdict([good]).passed
    assert not GateVerdict([good, bad]).passed
    assert (
        GateVerdict([good, bad, bad]).describe_failures()
        == "calibration: 0.3; at most 0.2; calibration: 0.3; at most 0.2"
    )


def test_estimates_and_differences_in_words():
    estimate = Estimate(0.8125, np.array([0.8125]), 40, bounds=(0.7744, 0.8506))
    assert format_named_estimate("classification.mauc", estimate) == "mauc 0.812 [0.774, 0.851]"
    assert format_named_estimate("segmentation.dice.mean", estimate).startswith("dice 0.812")
    assert format_named_estimate("ece", steady_estimate(float("nan"))) == "ece not measured"
    assert format_difference(Estimate(0.012, np.array([0.0]), 40, bounds=(-0.003, 0.027))) == "+0.012 [-0.003, +0.027]"


def test_tags_hold_the_measured_numbers_of_both_sides():
    numbers = {
        "classification": {
            "key": "classification.mauc",
            "judged": ["a"],
            "challenger": {
                "classification.mauc": {"value": 0.9, "ci95": [0.8, 0.95], "n": 40},
                "images_without_finite_output": 0,
            },
            "champion": {
                "classification.mauc": {"value": 0.75, "ci95": [0.5, 0.875], "n": 40},
                "classification.ece": {"value": None, "ci95": [None, None]},
            },
            "difference": {"value": 0.15, "ci95": [None, None], "n": 40},
        }
    }
    assert build_gate_tags(numbers) == {
        "gate.challenger.classification.mauc": "0.900 [0.800, 0.950] n=40",
        "gate.champion.classification.mauc": "0.750 [0.500, 0.875] n=40",
        "gate.difference.classification.mauc": "0.150 n=40",
    }
    assert build_gate_tags({"segmentation": {"key": "segmentation.dice.mean", "challenger": {}}}) == {}


@pytest.fixture(scope="module")
def study(phantom_cohort):
    return build_gate_study(phantom_cohort, "all", GateSettings(resamples=100))


def predict_with(*models: Model) -> SimpleNamespace:
    """A predictor that is asked for its models alone."""
    return SimpleNamespace(models={model.task: model for model in models})


def untrained(labels: list[str], task: str = "classification", **preprocessing) -> Model:
    return replace(build_untrained_model(labels, task=task), config={"preprocessing": {"size": 32} | preprocessing})


def test_every_task_of_either_side_is_judged_on_the_same_images(study):
    findings, masks = untrained(["cardiomegaly", "strange"]), untrained(["heart"], "segmentation")
    verdict = compare_with_champion(study, predict_with(findings, masks), predict_with(findings, masks), GateSettings())
    assert sorted(check.name for check in verdict.checks) == [
        "classification calibration", "classification finite outputs", "classification names",
        "classification preprocessing", "classification quality", "segmentation finite outputs",
        "segmentation names", "segmentation preprocessing", "segmentation quality",
    ]  # fmt: skip
    assert verdict.passed
    numbers = verdict.numbers["classification"]
    assert (numbers["judged"], numbers["difference"]["value"]) == (["cardiomegaly"], 0)
    assert numbers["champion"] == numbers["challenger"]
    assert verdict.numbers["segmentation"]["judged"] == ["heart"]


def test_after_a_failed_check_nothing_is_scored(study):
    old, new = untrained(["cardiomegaly"]), untrained(["cardiomegaly"], window=1)
    verdict = compare_with_champion(study, predict_with(old), predict_with(new), GateSettings())
    assert [(check.name, check.passed) for check in verdict.checks] == [
        ("classification preprocessing", False), ("classification names", True),
    ]  # fmt: skip
    assert verdict.numbers == {}
    allowed = compare_with_champion(study, predict_with(old), predict_with(new), GateSettings(allow_preprocessing=True))
    assert set(allowed.numbers) == {"classification"}


def test_a_task_that_the_challenger_lost_is_checked_and_not_scored(study):
    findings, masks = untrained(["cardiomegaly"]), untrained(["heart"], "segmentation")
    settings = GateSettings(allow_labels=True)
    verdict = compare_with_champion(study, predict_with(findings, masks), predict_with(findings), settings)
    assert set(verdict.numbers) == {"classification"}
    assert [check.name for check in verdict.checks if check.name.startswith("segmentation")] == ["segmentation names"]
    refused = compare_with_champion(study, predict_with(findings, masks), predict_with(findings), GateSettings())
    assert not refused.passed


def test_without_a_champion_the_bounds_decide(study):
    model = untrained(["cardiomegaly"])
    verdict = compare_with_champion(study, None, predict_with(model), GateSettings(least_auc=0, ece_most=1))
    assert verdict.passed
    assert "champion" not in verdict.numbers["classification"]
    strict = compare_with_champion(study, None, predict_with(model), GateSettings(least_auc=0.999))
    assert [check.name for check in strict.checks if not check.passed] == ["classification quality"]
