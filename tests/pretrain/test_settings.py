"""Settings of a run: recipes, and what the number of training images decides."""

import pytest

from medprior.errors import ConfigError
from medprior.pretrain.settings import PretrainSettings


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
