"""Bounds of the settings of an evaluation."""

import pytest

from medprior.errors import ConfigError
from medprior.evaluate.settings import EvaluateSettings
from medprior.geometry import PLAIN_VIEW, AttentionViews


@pytest.mark.parametrize("folds", [0, 3, 10])
def test_training_choosing_and_evaluation_need_a_fold_each(folds):
    assert EvaluateSettings.from_values({"probe_folds": folds}).probe_folds == folds


@pytest.mark.parametrize("folds", [-1, 1, 2])
def test_one_or_two_folds_are_refused(folds):
    with pytest.raises(ConfigError):
        EvaluateSettings.from_values({"probe_folds": folds})


def test_defaults_are_those_of_a_test_split_of_ten_thousand_images():
    settings = EvaluateSettings()
    assert (settings.resamples, settings.map_size, settings.ece_bins, settings.neighbours) == (1000, 128, 15, 20)
    assert (settings.selection_images, settings.finding_images, settings.probe_images) == (200, 500, 5000)
    assert (settings.pointing_tolerance, settings.probe_least, settings.probe_folds) == (0.03, 1, 0)
    assert settings.inverse_penalties == (0.001, 0.01, 0.1, 1.0, 10.0)
    assert settings.probe is True
    assert settings.attention_views == PLAIN_VIEW


@pytest.mark.parametrize(
    "values",
    [
        {"seed": -1}, {"resamples": 1}, {"map_size": 15}, {"batch": 0}, {"selection_images": 0}, {"finding_images": 0},
        {"pointing_tolerance": -0.01}, {"pointing_tolerance": 0.51}, {"box_units": "metres"}, {"ece_bins": 1},
        {"probe_images": 1}, {"probe_least": 0}, {"neighbours": 0}, {"inverse_penalties": []},
        {"attention_sizes": []}, {"attention_sizes": [0.24]}, {"attention_sizes": [1.0, 4.1]},
    ],
)  # fmt: skip
def test_values_outside_their_range_are_refused_by_name(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        EvaluateSettings.from_values(values)


def test_attention_may_be_read_from_shifted_views_of_several_sizes():
    settings = EvaluateSettings.from_values({"attention_sizes": [0.25, 4], "attention_shifted": True})
    assert settings.attention_views == AttentionViews((0.25, 4.0), True)
