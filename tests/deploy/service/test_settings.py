"""Limits of the HTTP service: what it starts with, and what it refuses to start with."""

import pytest

from medprior.deploy.service.settings import ServiceSettings
from medprior.errors import ConfigError


def test_defaults_suit_two_cores_and_four_gibibytes():
    settings = ServiceSettings()
    assert (settings.queue, settings.held_mb, settings.seconds) == (64, 256, 60)
    assert (settings.threads, settings.batch, settings.window_ms) == (4, 4, 4)
    assert settings.refuse_unfamiliar is False


@pytest.mark.parametrize(
    "values",
    [
        {"queue": 0}, {"held_mb": 0}, {"seconds": 0}, {"threads": 0}, {"threads": 65}, {"batch": 0}, {"batch": 257},
        {"window_ms": -1}, {"window_ms": 1001},
    ],
)  # fmt: skip
def test_limits_outside_their_range_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        ServiceSettings.from_values(values)


def test_limits_at_the_ends_of_their_range_are_accepted():
    lowest = {"queue": 1, "held_mb": 1, "seconds": 0.001, "threads": 1, "batch": 1, "window_ms": 0}
    assert ServiceSettings.from_values(lowest).queue == 1
    assert ServiceSettings.from_values({"threads": 64, "batch": 256, "window_ms": 1000}).threads == 64
