"""The gate between challenger and champion."""

import numpy as np
import pytest
from torch import nn

from medprior.cli import main
from medprior.deploy import register_model
from medprior.deploy.promotion.gate import (
    GateCheck,
    GateVerdict,
    build_gate_tags,
    compare_preprocessing_and_labels,
    compare_quality,
    format_difference,
    format_named_estimate,
)
from medprior.deploy.promotion.promote import promote_challenger
from medprior.deploy.promotion.scores import GateScores
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.registry.champion import load_aliases
from medprior.errors import MedpriorError
from medprior.finetune.model import Model
from medprior.metrics.bootstrap import Estimate
from medprior.tracking import mlflow_store
from tests.deploy.discs import segmenter_model
from tests.deploy.promotable import FAST_GATE, load_cxr_aliases, make_alias_champion


@pytest.mark.parametrize(
    ("challenger", "words"),
    [
        ("@weak", ("quality", "champion mauc 0.9", "challenger mauc 0.", "difference -0.")),
        ("@broken", ("finite outputs: not on", "smoke prediction")),
        ("@sharp", ("calibration: champion ece", "difference +0.")),
        ("@sized", ("preprocessing: size 64 -> 48", "--allow-preprocessing")),
    ],
)
def test_what_is_worse_is_refused_with_the_figures(filled_uri, discs, capsys, challenger, words):
    make_alias_champion(filled_uri, "good")
    assert main(["promote", "cxr", "--challenger", challenger, "--cohort", str(discs)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert load_cxr_aliases(filled_uri)["champion"] == "2"
    version = load_cxr_aliases(filled_uri)[challenger[1:]]
    tags = mlflow_store.connect_to_store(filled_uri).get_model_version("cxr", version).tags
    assert tags["gate.verdict"] == "refused"


def test_no_worse_within_the_margin_is_enough(filled_uri, discs):
    make_alias_champion(filled_uri, "good")
    facts = promote_challenger("cxr", discs, "@again", settings=FAST_GATE, tracking_uri=filled_uri)
    assert facts["numbers"]["classification"]["difference"]["value"] == 0
    assert load_cxr_aliases(filled_uri)["champion"] == load_cxr_aliases(filled_uri)["again"]


def test_other_preprocessing_may_be_allowed_but_must_still_be_good(filled_uri, discs):
    make_alias_champion(filled_uri, "good")
    settings = GateSettings(resamples=300, allow_preprocessing=True)
    with pytest.raises(MedpriorError, match="quality: champion"):
        promote_challenger("cxr", discs, "@sized", settings=settings, tracking_uri=filled_uri)


def test_the_first_champion_meets_absolute_bounds(filled_uri, discs):
    for alias in ("@weak", "@broken"):
        with pytest.raises(MedpriorError, match="there is no champion yet"):
            promote_challenger("cxr", discs, alias, settings=FAST_GATE, tracking_uri=filled_uri)
    assert "champion" not in load_cxr_aliases(filled_uri)
    promote_challenger("cxr", discs, "2", settings=FAST_GATE, tracking_uri=filled_uri)
    assert load_cxr_aliases(filled_uri)["champion"] == "2"
    assert "previous" not in load_cxr_aliases(filled_uri)


def test_masks_are_judged_by_dice_and_are_not_lost(filled_uri, discs, disc_models, tmp_path):
    poor = segmenter_model(discs, tmp_path / "poor", epochs=1)
    sound = segmenter_model(discs, tmp_path / "sound", epochs=3)
    register_model(disc_models["good"], "both", "challenger", segmenter=sound, tracking_uri=filled_uri)
    facts = promote_challenger("both", discs, settings=FAST_GATE, tracking_uri=filled_uri)
    dice = facts["numbers"]["segmentation"]["challenger"]["segmentation.dice.mean"]
    assert dice["ci95"][0] > 0.5
    register_model(disc_models["good"], "both", "challenger", segmenter=poor, tracking_uri=filled_uri)
    with pytest.raises(MedpriorError, match="segmentation quality: champion dice"):
        promote_challenger("both", discs, settings=FAST_GATE, tracking_uri=filled_uri)
    register_model(disc_models["good"], "both", "challenger", tracking_uri=filled_uri)
    with pytest.raises(MedpriorError, match="champion has a segmentation model"):
        promote_challenger("both", discs, settings=FAST_GATE, tracking_uri=filled_uri)
    allowed = GateSettings(resamples=300, allow_labels=True)
    promote_challenger("both", discs, settings=allowed, tracking_uri=filled_uri)
    assert load_aliases(mlflow_store.connect_to_store(filled_uri), "both")["champion"] == "3"


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
