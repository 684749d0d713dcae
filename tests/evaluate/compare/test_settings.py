"""Arms by name, and shares of the training patients."""

from pathlib import Path

import pytest

from medprior.errors import ConfigError
from medprior.evaluate.compare.settings import Arm, CompareSettings


def test_an_arm_has_the_priors_of_the_comparison_unless_it_has_its_own():
    settings = CompareSettings(arms={"mine": Arm(recipe="dino"), "own": Arm(prior=Path("other"))})
    assert settings.arm("mine", Path("shared")) == Arm(recipe="dino", prior=Path("shared"))
    assert settings.arm("own", Path("shared")).prior == Path("other")
    assert settings.arm("span+loca", None) == Arm(recipe="span+loca")
    assert settings.arms["mine"].prior is None


def test_shares_are_unique_and_largest_first():
    assert CompareSettings.from_values({"fractions": [0.1, 1.0, 0.5, 0.1]}).fractions == (1.0, 0.5, 0.1)


@pytest.mark.parametrize("share", [0, -0.1, 1.01])
def test_shares_are_above_0_up_to_1(share):
    with pytest.raises(ConfigError, match="above 0 up to 1"):
        CompareSettings.from_values({"fractions": [1.0, share]})


def test_one_device_for_every_stage():
    settings = CompareSettings.from_values({"pretrain": {"steps": 3}, "finetune": {"classification": {"epochs": 1}}})
    placed = settings.on_device("cuda:1")
    assert placed.evaluate.device == "cuda:1"
    assert placed.pretrain == {"steps": 3, "device": "cuda:1"}
    assert placed.finetune == {"classification": {"epochs": 1, "device": "cuda:1"}}
    assert settings.pretrain == {"steps": 3}
