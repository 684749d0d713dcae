"""Defaults and ranges of a generated cohort's settings."""

import pytest

from medprior.phantom.settings import PhantomSettings
from tests.settings_ranges import SHARE, check_range


def test_defaults():
    settings = PhantomSettings()
    chance = settings.prevalence
    assert (settings.size, settings.max_images, settings.portable) == (512, 3, 0.35)
    assert (settings.cardiothoracic_limit, settings.unknown, settings.subtlety) == (0.545, 0.05, 1)
    assert (chance.pleural_effusion, chance.consolidation, chance.nodule, chance.pneumothorax) == (
        0.25, 0.25, 0.25, 0.15)  # fmt: skip


@pytest.mark.parametrize(
    ("section", "field", "ends"),
    [
        ("", "size", ((64, 4096), (63, 4097))), ("", "max_images", ((1, 9), (0, 10))), ("", "portable", SHARE),
        ("", "cardiothoracic_limit", ((0.01, 0.99), (0, 1))), ("", "unknown", ((0, 0.99), (-0.01, 1))),
        ("", "subtlety", ((0, 2), (-0.01, 2.01))),
        *(("prevalence", name, SHARE) for name in ("pleural_effusion", "consolidation", "nodule", "pneumothorax")),
    ],
)  # fmt: skip
def test_ranges(section, field, ends):
    check_range(PhantomSettings, section, field, *ends)
