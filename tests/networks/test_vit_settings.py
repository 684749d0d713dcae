import pytest

from medprior.errors import ConfigError
from medprior.networks import ViTSettings
from tests.settings_ranges import POSITIVE, check_range, count_from


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
    ("field", "ends"),
    [
        ("width", count_from(12)), ("depth", count_from(1)), ("heads", count_from(1)), ("patch", count_from(2)),
        ("registers", count_from(0)), ("image_size", count_from(16)), ("mlp_ratio", POSITIVE),
        ("layer_scale", POSITIVE), ("drop_path", ((0, 0.99), (-0.01, 1))), ("std", POSITIVE),
    ],
)  # fmt: skip
def test_ranges(field, ends):
    check_range(ViTSettings, "", field, *ends)


def test_defaults_suit_a_small_cohort():
    settings = ViTSettings()
    assert (settings.width, settings.depth, settings.heads, settings.patch, settings.image_size) == (96, 4, 6, 8, 96)
    assert (settings.registers, settings.mlp_ratio, settings.layer_scale, settings.drop_path) == (4, 4, None, 0)
    assert (settings.mean, settings.std, settings.mask_token) == (0.5, 0.25, False)
    assert (settings.life, settings.life_aux_key, settings.life_norm, settings.nosn) == (False, "fixed", False, False)
