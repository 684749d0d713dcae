"""Settings of a run: recipes, and what the number of training images decides."""

import pytest

from medprior.errors import ConfigError
from medprior.pretrain.settings import PretrainSettings
from tests.settings_ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_range, count_from


def resolve(images, **values):
    return PretrainSettings.from_values({"recipe": "dino"} | values).resolve(images)


def test_small_cohorts_end_at_ten_thousand_images():
    small, large = resolve(9_999).dino, resolve(10_000).dino
    assert (small.prototypes, small.batch_norm, small.teacher_temperature) == (256, True, 0.02)
    assert (large.prototypes, large.batch_norm, large.teacher_temperature) == (8192, False, 0.04)
    assert large.teacher_momentum == 0.996
    assert small.teacher == large.teacher == "centering"


@pytest.mark.parametrize(("steps", "momentum"), [(10, 0.5), (100, 0.91), (900, 0.99), (9000, 0.99)])
def test_the_teacher_of_a_short_run_turns_over(steps, momentum):
    assert resolve(64, steps=steps).dino.teacher_momentum == pytest.approx(momentum)


def test_given_values_stay():
    dino = resolve(100, dino={"prototypes": 17, "batch_norm": False, "teacher_momentum": 0.0}).dino
    assert (dino.prototypes, dino.batch_norm, dino.teacher_momentum) == (17, False, 0.0)


def test_steps_are_whole_epochs():
    """130 images in batches of 64 make epochs of 2 steps."""
    assert (resolve(130).steps, resolve(130).epochs) == (200, 100)
    assert resolve(130, epochs=7).steps == 14
    rounded_up = resolve(130, steps=5, epochs=7)
    assert (rounded_up.steps, rounded_up.epochs) == (6, 3)
    assert resolve(130, steps=6).epochs == 3


def test_a_run_shorter_than_an_epoch_has_the_steps_asked_for(caplog):
    """834 images in batches of 64 make epochs of 13 steps."""
    short = resolve(834, steps=6)
    assert (short.steps, short.epochs) == (6, 1)
    assert (resolve(834, steps=13).steps, resolve(834, steps=13).epochs) == (13, 1)
    assert caplog.messages == []


def test_more_steps_than_asked_for_are_announced(caplog):
    assert resolve(834, steps=20).steps == 26
    assert caplog.messages == ["steps=20: 26 are run, as whole epochs of 13 steps"]
    caplog.clear()
    assert resolve(834, steps=26).steps == 26
    assert resolve(834, epochs=2).steps == 26
    assert caplog.messages == []


def test_a_batch_holds_no_image_twice_and_two_at_least():
    assert resolve(10).batch == 10
    assert resolve(10).steps == 100
    assert resolve(2).batch == 2
    with pytest.raises(ConfigError, match="too few training images"):
        resolve(1)


def test_masks_need_their_token():
    assert not resolve(64).network.mask_token
    assert resolve(64, recipe="ibot").network.mask_token
    assert resolve(64, network={"mask_token": True}).network.mask_token


def test_the_recipe_is_below_what_is_given():
    assert PretrainSettings.from_values({}).span.weight == 0.3
    assert PretrainSettings.from_values({"recipe": "dino"}).span.weight == 0
    assert PretrainSettings.from_values({"recipe": "dino", "span": {"weight": 0.7}}).span.weight == 0.7
    assert PretrainSettings.from_values({"recipe": "sar", "sar": {"connectivity": 4}}).sar.weight == 0.01
    with pytest.raises(ConfigError, match=r"'recipe'.*no recipe 'magic'"):
        PretrainSettings.from_values({"recipe": "dino+magic"})


def test_the_teachers_temperature_rises_over_its_epochs():
    """130 images in batches of 64: 2 steps an epoch."""
    dino = {"teacher_temperature": 0.07, "start_temperature": 0.04, "temperature_epochs": 3}
    settings = resolve(130, epochs=5, dino=dino)
    temperatures = [settings.compute_teacher_temperature(step) for step in range(8)]
    assert temperatures == pytest.approx([0.04, 0.045, 0.05, 0.055, 0.06, 0.065, 0.07, 0.07])
    assert resolve(130, epochs=5).compute_teacher_temperature(0) == 0.02


def test_defaults_are_those_of_the_readme():
    run = PretrainSettings()
    crops, optimiser = run.crops, run.optimiser
    assert (run.recipe, run.preset, run.batch, run.resolve(640).epochs) == ("span", None, 64, 100)
    assert (optimiser.lr, optimiser.final_lr, optimiser.warmup, optimiser.clip) == (1e-3, 1e-6, 0.1, 3)
    assert (optimiser.weight_decay, optimiser.clip_by, optimiser.lr_scaling) == ((0.04, 0.2), "student", "none")
    assert (optimiser.layer_decay, optimiser.patch_embed_rate, optimiser.warmup_epochs) == (1, 1, None)
    assert (crops.global_size, crops.globals_scale) == (96, (0.5, 1))
    assert (crops.locals, crops.local_size, crops.locals_scale) == (4, 48, (0.15, 0.5))
    assert (crops.flip_p, crops.flip_reference) == (0, True)


def test_a_run_is_recorded_and_saved_without_being_asked_to():
    run = PretrainSettings()
    assert (run.seed, run.accumulate, run.window, run.gradient_every, run.resume) == (0, 1, 20, 200, True)
    assert (run.checkpoint_every, run.checkpoint_seconds, run.steps, run.init) == (None, 300, None, None)
    assert (run.device, run.precision, run.compile) == ("auto", "auto", "auto")
    assert (run.loading.workers, run.loading.resident) == (None, None)


@pytest.mark.parametrize(("scaling", "peak"), [("none", 0.001), ("linear", 0.004), ("sqrt", 0.002)])
def test_the_peak_rate_grows_from_256_images_on(scaling, peak):
    optimiser = PretrainSettings.from_values({"optimiser": {"lr_scaling": scaling}}).optimiser
    assert optimiser.scale_rate(1024) == pytest.approx(peak)
    assert optimiser.scale_rate(256) == 1e-3


@pytest.mark.parametrize(
    ("section", "field", "ends"),
    [
        ("", "steps", count_from(1)), ("", "epochs", count_from(1)), ("", "batch", count_from(2)),
        ("", "accumulate", count_from(1)), ("", "window", count_from(1)), ("", "gradient_every", count_from(1)),
        ("", "checkpoint_every", count_from(1)), ("", "checkpoint_seconds", POSITIVE),
        ("loading", "workers", count_from(0)), ("crops", "locals", count_from(0)),
        ("crops", "global_size", count_from(16)), ("crops", "local_size", count_from(16)), ("crops", "flip_p", SHARE),
        ("optimiser", "lr", POSITIVE), ("optimiser", "lr_batch", count_from(1)),
        ("optimiser", "final_lr", NOT_NEGATIVE),
        ("optimiser", "warmup", SHARE), ("optimiser", "warmup_epochs", NOT_NEGATIVE), ("optimiser", "clip", POSITIVE),
        ("optimiser", "layer_decay", ((0.01, 1), (0, 1.01))), ("optimiser", "patch_embed_rate", POSITIVE),
    ],
)  # fmt: skip
def test_ranges(section, field, ends):
    check_range(PretrainSettings, section, field, *ends)
