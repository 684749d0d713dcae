"""Settings of the prior stage: the defaults that its README states, and their ranges."""

import pytest

from medprior.errors import ConfigError
from medprior.priors.settings import PriorSettings


def test_defaults_are_those_of_the_readme():
    settings = PriorSettings()
    registration, statistics, refine = settings.registration, settings.statistics, settings.refine
    assert (settings.method, settings.size, settings.stones, settings.correct) == ("registered", 128, 6, True)
    assert settings.softness == 2.5
    assert (registration.size, registration.mesh, 2 * registration.radius + 1) == (128, 16, 9)
    assert registration.shrink == (8, 4, 2, 1)
    assert (registration.min_correlation, registration.max_folding, registration.max_scale) == (0.3, 0.02, 1.6)
    assert (registration.bins, registration.affine_iterations, registration.iterations) == (32, 100, 30)
    assert registration.bending == 3e-4
    assert (statistics.heart_share, statistics.regions, statistics.fit) == (0.45, 0, True)
    assert (refine.share, refine.mass, refine.least_iou) == (0.3, 0.6, 0.5)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("registration", {"size": 31}), ("registration", {"size": 1025}), ("registration", {"bins": 7}),
        ("registration", {"mesh": 1}), ("registration", {"radius": 0}), ("registration", {"shrink": []}),
        ("registration", {"bending": -1e-9}), ("registration", {"max_scale": 1.0}),
        ("registration", {"min_correlation": -1.01}), ("registration", {"min_correlation": 1.01}),
        ("registration", {"max_folding": 1.01}), ("registration", {"affine_iterations": 0}),
        ("registration", {"iterations": 0}),
        ("statistics", {"size": 63}), ("statistics", {"size": 513}), ("statistics", {"batch": 0}),
        ("statistics", {"heart_share": 0.0}), ("statistics", {"heart_share": 1.01}), ("statistics", {"regions": 33}),
        ("refine", {"share": 0.0}), ("refine", {"share": 0.31}), ("refine", {"mass": 0.0}), ("refine", {"mass": 1.0}),
        ("refine", {"least_iou": 1.01}),
    ],
)  # fmt: skip
def test_a_value_outside_its_range_is_refused_by_name(section, values):
    (name,) = values
    with pytest.raises(ConfigError, match=f"{section}.{name}"):
        PriorSettings.from_values({section: values})


@pytest.mark.parametrize("values", [{"size": 31}, {"size": 513}, {"softness": -0.1}, {"softness": 10.1}, {"stones": 0}])
def test_maps_have_a_size_and_a_blur_within_bounds(values):
    with pytest.raises(ConfigError):
        PriorSettings.from_values(values)


def test_ends_of_the_ranges_are_accepted():
    PriorSettings.from_values({"size": 32, "softness": 0, "stones": 1})
    PriorSettings.from_values({"size": 512, "softness": 10})
    lowest = {
        "size": 32, "bins": 8, "mesh": 2, "radius": 1, "shrink": [1], "bending": 0, "max_scale": 1.01,
        "min_correlation": -1, "max_folding": 0, "iterations": 1, "affine_iterations": 1,
    }  # fmt: skip
    PriorSettings.from_values({"registration": lowest, "statistics": {"size": 64, "batch": 1, "regions": 32}})
    PriorSettings.from_values({"registration": {"size": 1024, "max_folding": 1, "min_correlation": 1}})
    PriorSettings.from_values({"statistics": {"size": 512, "heart_share": 1}, "refine": {"share": 0.3, "least_iou": 0}})
