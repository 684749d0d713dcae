"""The gate's bounds as the README of `deploy` states them: what just passes and what just fails."""

import pytest

from medprior.deploy.promotion.settings import GateSettings
from medprior.errors import ConfigError
from tests.deploy.promotion.test_gate import classifier_scores, decide, steady_estimate


@pytest.mark.parametrize(("difference", "passed"), [(-0.0105, False), (-0.0095, True)])
def test_a_challenger_may_lie_one_hundredth_below_the_champion(difference, passed):
    new, old = classifier_scores(steady_estimate(0.75 + difference)), classifier_scores(steady_estimate(0.75))
    assert decide("classification", new, old)["quality"] is passed


@pytest.mark.parametrize(("difference", "passed"), [(0.0195, True), (0.0205, False)])
def test_its_calibration_error_may_exceed_the_champions_by_two_hundredths(difference, passed):
    new, old = (classifier_scores(steady_estimate(0.75), ece) for ece in (0.125 + difference, 0.125))
    assert decide("classification", new, old)["calibration"] is passed


@pytest.mark.parametrize(("value", "passed"), [(0.5, False), (0.505, True)])
def test_a_first_champion_lies_above_one_half(value, passed):
    assert decide("classification", classifier_scores(steady_estimate(value)), None)["quality"] is passed
    assert decide("segmentation", classifier_scores(steady_estimate(value)), None)["quality"] is passed


@pytest.mark.parametrize(("ece", "passed"), [(0.25, True), (0.2505, False)])
def test_a_first_champion_has_a_calibration_error_of_at_most_a_quarter(ece, passed):
    assert decide("classification", classifier_scores(steady_estimate(0.75), ece), None)["calibration"] is passed


def test_nothing_is_allowed_unless_asked_for():
    settings = GateSettings()
    assert (settings.allow_labels, settings.allow_preprocessing, settings.seed) == (False, False, 0)
    assert settings.resamples == 2000


@pytest.mark.parametrize(
    "values",
    [
        {"margin": -0.001}, {"margin": 1.001}, {"ece_margin": -0.001}, {"ece_most": 0.0}, {"ece_most": 1.001},
        {"least_auc": 1.0}, {"least_auc": -0.001}, {"least_dice": 1.0}, {"least_dice": -0.001}, {"resamples": 99},
        {"seed": -1},
    ],
)  # fmt: skip
def test_bounds_outside_their_range_are_refused(values):
    with pytest.raises(ConfigError):
        GateSettings.from_values(values)


def test_bounds_at_the_ends_of_their_range_are_accepted():
    lowest = {"margin": 0, "ece_margin": 0, "least_auc": 0, "least_dice": 0, "resamples": 100, "seed": 0}
    assert GateSettings.from_values(lowest).resamples == 100
    assert GateSettings.from_values({"margin": 1, "ece_margin": 1, "ece_most": 1}).ece_most == 1
