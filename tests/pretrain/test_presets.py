"""The published settings by name, against a table written by hand from the sources."""

import pytest

from medprior.errors import ConfigError
from medprior.pretrain import Pretraining, PretrainSettings
from medprior.pretrain.presets import PRESETS, get_preset_settings
from medprior.settings import merge_mappings

IMAGES = 100_000  # with batches of 1024 an epoch has 97 steps

TABLE = {
    "": ("dino-published", "dinov2", "sar-published", "loca-published"),
    "recipe": ("nokoleo", "ibot", "sar+nosn", "loca-alone"),
    "epochs": (100, 100, 300, 100),
    "steps": (9_700, 9_700, 29_100, 9_700),
    "batch": (1024, 1024, 1024, 1024),
    "network.width": (384, 1024, 384, 768),
    "network.depth": (12, 24, 12, 12),
    "network.heads": (6, 16, 6, 12),
    "network.patch": (16, 16, 16, 16),
    "network.registers": (0, 0, 0, 0),
    "network.image_size": (224, 224, 224, 224),
    "network.drop_path": (0.1, 0.3, 0.1, 0.1),
    "network.layer_scale": (None, 1e-5, None, None),
    "network.nosn": (False, False, True, False),
    "network.mask_token": (False, True, False, False),
    "crops.global_size": (224, 224, 224, 224),
    "crops.local_size": (96, 96, 96, 96),
    "crops.globals_scale": ((0.4, 1), (0.32, 1), (0.4, 1), (0.32, 1)),
    "crops.locals_scale": ((0.05, 0.4), (0.05, 0.32), (0.05, 0.4), (0.05, 0.32)),
    "crops.locals": (8, 8, 8, 9),
    "crops.flip_p": (0.5, 0.5, 0.5, 0.5),
    "crops.flip_reference": (True, True, True, False),
    "dino.weight": (1, 1, 1, 0),
    "dino.koleo_weight": (0, 0.2, 0, 0),
    "dino.prototypes": (65_536, 65_536, 65_536, 8192),
    "dino.hidden": (2048, 2048, 2048, 512),
    "dino.bottleneck": (256, 256, 256, 64),
    "dino.batch_norm": (False, False, False, False),
    "dino.prototype_init": ("uniform", "uniform", "uniform", "normal"),
    "dino.freeze_epochs": (1, 1, 1, 0),
    "dino.teacher": ("centering",) * 4,
    "dino.centre_momentum": (0.9, 0.9, 0.9, 0.9),
    "dino.teacher_momentum": (0.996, 0.992, 0.996, 0.996),
    "dino.teacher_temperature": (0.04, 0.07, 0.04, 0.04),
    "dino.start_temperature": (None, 0.04, None, None),
    "dino.temperature_epochs": (0, 30, 0, 0),
    "dino.student_temperature": (0.1, 0.1, 0.1, 0.1),
    "ibot.weight": (0, 1, 0, 0),
    "ibot.probability": (0.5, 0.5, 0.5, 0.5),
    "ibot.ratio": ((0.1, 0.5),) * 4,
    "ibot.separate_head": (False,) * 4,
    "ibot.teacher": ("centering",) * 4,
    "span.weight": (0, 0, 0, 0),
    "sar.weight": (0, 0, 0.01, 0),
    "sar.warmup_epochs": (None, None, 10, None),
    "sar.connectivity": (8, 8, 8, 8),
    "sar.excess": (False,) * 4,
    "loca.weight": (0, 0, 0, 1),
    "loca.warmup": (0.05, 0.05, 0.05, 0),
    "loca.query_patches": (None, None, None, 70),
    "loca.visible": (0.2, 0.2, 0.2, 0.2),
    "loca.pattern": ("consecutive",) * 4,
    "loca.reference": ("teacher",) * 4,
    "loca.cluster": (True, False, True, True),
    "loca.prototypes": (65_536, 65_536, 65_536, 4096),
    "loca.hidden": (2048, 2048, 2048, 2048),
    "loca.bottleneck": (256, 256, 256, 256),
    "loca.batch_norm": (False,) * 4,
    "loca.prototype_init": ("uniform", "uniform", "uniform", "unit"),
    "loca.teacher_temperature": (0.05, 0.05, 0.05, 0.05),
    "loca.student_temperature": (0.1, 0.1, 0.1, 0.1),
    "optimiser.lr": (5e-4, 4e-3, 5e-4, 1e-3),
    "optimiser.lr_scaling": ("linear", "sqrt", "linear", "linear"),
    "optimiser.lr_batch": (256, 1024, 512, 1024),
    "optimiser.final_lr": (1e-6, 1e-6, 1e-5, 1e-5),
    "optimiser.warmup_epochs": (10, 10, 5, 15),
    "optimiser.weight_decay": ((0.04, 0.4), (0.04, 0.4), (0.05, 0.05), (0.1, 0.1)),
    "optimiser.clip": (3, 3, 3, 1),
    "optimiser.clip_by": ("tensor", "part", "tensor", "student"),
    "optimiser.layer_decay": (1, 0.9, 1, 1),
    "optimiser.patch_embed_rate": (1, 0.2, 1, 1),
}
TINY = {
    "epochs": 2, "batch": 8, "window": 2,
    "network": {"width": 24, "depth": 2, "heads": 6, "patch": 8, "image_size": 32},
    "crops": {"global_size": 32, "local_size": 16},
    "dino": {"prototypes": 32, "hidden": 16, "bottleneck": 8},
    "loca": {"prototypes": 32, "hidden": 16, "bottleneck": 8},
}  # fmt: skip


@pytest.mark.parametrize("column", range(4), ids=TABLE[""])
def test_resolved_settings_are_those_of_the_table(column):
    settings = PretrainSettings.from_values({"preset": TABLE[""][column]}).resolve(IMAGES)
    expected = {key: values[column] for key, values in TABLE.items() if key}
    resolved = {}
    for key in expected:
        value = settings
        for step in key.split("."):
            value = getattr(value, step)
        resolved[key] = value
    assert resolved == expected


def test_the_table_holds_every_setting_of_every_preset():
    assert tuple(PRESETS) == TABLE[""]
    for preset in PRESETS.values():
        keys = {f"{k}.{name}" for k, v in preset.items() if isinstance(v, dict) for name in v}
        assert keys <= TABLE.keys()


@pytest.mark.parametrize(
    ("name", "batch", "peak"),
    [
        ("dino-published", 1024, 2e-3), ("dino-published", 64, 1.25e-4), ("dinov2", 1024, 4e-3), ("dinov2", 256, 2e-3),
        ("sar-published", 1024, 1e-3), ("loca-published", 1024, 1e-3), ("loca-published", 512, 5e-4),
    ],
)  # fmt: skip
def test_the_peak_rate_is_that_of_the_batch(name, batch, peak):
    settings = PretrainSettings.from_values({"preset": name, "batch": batch}).resolve(IMAGES)
    assert settings.optimiser.scale_rate(settings.batch) == pytest.approx(peak)


def test_what_is_given_is_above_the_preset_and_the_preset_above_the_recipe():
    values = {"preset": "dino-published", "recipe": "dino+span", "dino": {"hidden": 64}}
    settings = PretrainSettings.from_values(values)
    assert (settings.recipe, settings.span.weight, settings.dino.koleo_weight) == ("dino+span", 0.3, 0)
    assert (settings.dino.hidden, settings.dino.bottleneck) == (64, 256)
    assert PretrainSettings.load(None, ["preset=sar-published", "sar.weight=0.5"]).sar.weight == 0.5
    again = PretrainSettings.from_values(settings.model_dump())
    assert again == settings
    assert PretrainSettings.from_values({}).preset is None


def test_an_unknown_preset_is_named_beside_the_known_and_the_nearest():
    with pytest.raises(ConfigError, match=r"'preset'.*no preset 'dino'; presets are dino-published, dinov2"):
        PretrainSettings.from_values({"preset": "dino"})
    with pytest.raises(ConfigError, match=r"'preset'.*valid string"):
        PretrainSettings.from_values({"preset": ["dinov2"]})
    with pytest.raises(ValueError, match="did you mean 'loca-published'"):
        get_preset_settings("loca_published")


@pytest.mark.parametrize("name", PRESETS)
def test_a_small_run_of_each(name, phantom_cohort, tmp_path):
    changes = {"loca": {"query_patches": 6}} if name == "loca-published" else {}
    settings = PretrainSettings.from_values(merge_mappings(TINY | {"preset": name}, changes))
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=settings)
    run.run()
    rows = run.metrics.rows
    assert rows[-1]["step"] == settings.resolve(len(run.cohort)).steps
    assert all(row["skipped_steps"] == 0 for row in rows)
    losses = {key.removeprefix("loss_") for key in rows[0] if key.startswith("loss_")}
    expected = {"dino-published": {"dino"}, "dinov2": {"dino", "koleo", "ibot"}, "sar-published": {"dino", "sar"}}
    assert losses == expected.get(name, {"loca"})
    assert (tmp_path / "out" / "backbone.safetensors").is_file()
