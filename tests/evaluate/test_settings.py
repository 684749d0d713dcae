"""Bounds of the settings of an evaluation."""

import pytest

from medprior.errors import ConfigError
from medprior.evaluate.settings import EvaluateSettings


@pytest.mark.parametrize("folds", [0, 3, 10])
def test_training_choosing_and_evaluation_need_a_fold_each(folds):
    assert EvaluateSettings.from_values({"probe_folds": folds}).probe_folds == folds


@pytest.mark.parametrize("folds", [-1, 1, 2])
def test_one_or_two_folds_are_refused(folds):
    with pytest.raises(ConfigError):
        EvaluateSettings.from_values({"probe_folds": folds})
