import pytest

from medprior.errors import ConfigError
from medprior.networks import ViTSettings


def test_name_and_options_are_for_timm_alone():
    for values in ({"name": "vit_small_patch16_224"}, {"options": {"qk_norm": True}}):
        with pytest.raises(ConfigError, match="for source=timm"):
            ViTSettings.from_values(values)


def test_only_life_needs_a_width_that_three_divides():
    assert ViTSettings.from_values({"width": 64, "heads": 4}).width == 64
    assert ViTSettings.from_values({"width": 96, "heads": 4, "life": True}).life
    with pytest.raises(ConfigError, match="multiple of 3, found 64"):
        ViTSettings.from_values({"width": 64, "heads": 4, "life": True})


@pytest.mark.parametrize(
    ("field", "least", "below"),
    [("width", 12, 11), ("depth", 1, 0), ("heads", 1, 0), ("patch", 2, 1), ("registers", 0, -1)],
)
def test_lower_bounds(field, least, below):
    assert getattr(ViTSettings.from_values({field: least}), field) == least
    with pytest.raises(ConfigError, match=field):
        ViTSettings.from_values({field: below})
