"""An objective at weight 0 does not exist; none disturbs another."""

import numpy as np
import pytest
import torch

from medprior.pretrain.learner import Learner
from medprior.pretrain.optimiser import build_pretrain_optimiser
from medprior.pretrain.recipes import RECIPES
from medprior.pretrain.settings import PretrainSettings

from .multi_crops import build_multi_crop, learner_of, pictures, tiny

IMAGES, MASKS = pictures(8)
OFF = {
    "dino": {"dino": {"weight": 0.0}}, "koleo": {"dino": {"koleo_weight": 0.0}},
    "ibot": {"ibot": {"weight": 0.0}}, "span": {"span": {"weight": 0.0}},
    "sar": {"sar": {"weight": 0.0}}, "loca": {"loca": {"weight": 0.0}},
}  # fmt: skip


def trained(settings, steps=2):
    """Losses of some steps and the weights after them."""
    learner = learner_of(settings)
    optimiser = build_pretrain_optimiser(learner.student, settings)
    losses_by_step = []
    for step in range(steps):
        multi_crop = build_multi_crop(settings, learner, IMAGES, MASKS, step)
        weights = learner.weights(0.3)
        losses, _ = learner.compute_losses(learner.student, multi_crop)
        optimiser.zero_grad()
        sum(weights[name] * loss for name, loss in losses.items()).backward()
        optimiser.step()
        learner.commit_step()
        learner.update_teacher(0.9)
        losses_by_step.append({name: loss.item() for name, loss in losses.items()})
    return losses_by_step, learner.state_dict()


@pytest.mark.parametrize(
    ("name", "recipe", "without"),
    [
        ("span", "span+sar+loca", "sar+loca"),
        ("sar", "span+sar+loca", "span+loca"),
        ("loca", "span+sar+loca", "span+sar"),
        ("ibot", "span+ibot", "span"),
        ("ibot", "all", "span+sar+loca"),
        ("koleo", "span+sar", "nokoleo+span+sar"),
    ],
)
def test_weight_zero_is_as_if_it_did_not_exist(name, recipe, without):
    first, one = trained(tiny(recipe=recipe, **OFF[name]))
    second, two = trained(tiny(recipe=without))
    assert first == second
    assert name not in first[0]
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_others_start_and_draw_the_same_whatever_is_added():
    """Losses of the first step and initial weights do not move when objectives join."""
    base, _ = trained(tiny(recipe="dino"), steps=1)
    for recipe in ("span", "sar", "loca", "span+sar+loca"):
        more, _ = trained(tiny(recipe=recipe), steps=1)
        assert {key: more[0][key] for key in base[0]} == base[0], recipe
    alone, joined = (learner_of(tiny(recipe=r)) for r in ("loca+ibot", "all"))
    own = joined.state_dict()
    for key, value in alone.state_dict().items():
        assert torch.equal(value, own[key]), key
    plain = learner_of(tiny()).student.state_dict()
    assert all(torch.equal(value, joined.student.state_dict()[key]) for key, value in plain.items())


def test_streams_are_each_ones_own():
    multi_crops, located = [], []
    for recipe in ("loca", "loca+ibot", "all"):
        settings = tiny(recipe=recipe)
        learner = learner_of(settings)
        multi_crops.append(build_multi_crop(settings, learner, IMAGES, MASKS, 5))
        located.append(learner.objectives["loca"].targets(multi_crops[-1])[0].visible)
    for multi_crop, visible in zip(multi_crops[1:], located[1:], strict=True):
        assert torch.equal(multi_crop.globals_.pixels, multi_crops[0].globals_.pixels)
        assert torch.equal(visible, located[0])
    assert torch.equal(multi_crops[1].masked, multi_crops[2].masked)


def test_building_objectives_leaves_the_callers_random_numbers_alone():
    settings = [tiny(recipe=recipe) for recipe in ("dino", "loca+ibot")]
    numbers = []
    for each in settings:
        torch.manual_seed(0)
        Learner(each)
        numbers.append(torch.rand(4))
    assert torch.equal(*numbers)


def test_dino_can_be_left_out():
    learner = learner_of(tiny(recipe="nokoleo+span", **OFF["dino"]))
    assert list(learner.objectives) == ["span"]
    assert learner.student.head is None
    assert not any("prototypes" in key for key in learner.state_dict())


def test_recipes_join_and_unknown_ones_are_refused():
    joined = PretrainSettings.from_values({"recipe": "span+sar+loca"})
    weights = (joined.span.weight, joined.sar.weight, joined.loca.weight, joined.ibot.weight)
    assert weights == (0.3, 0.01, 0.5, 0.0)
    assert PretrainSettings.from_values({"recipe": "dino"}).span.weight == 0
    assert PretrainSettings.from_values({"recipe": "life+dino"}).network.life
    given = PretrainSettings.from_values({"recipe": "all", "span": {"weight": 0.1}})
    assert (given.span.weight, given.ibot.weight) == (0.1, 1.0)
    for name in RECIPES:
        assert PretrainSettings.from_values({"recipe": name}).recipe == name
    with pytest.raises(Exception, match=r"recipe.*no recipe 'spam'.*span\+sar\+loca"):
        PretrainSettings.from_values({"recipe": "span+spam"})
    with pytest.raises(Exception, match="nothing to learn"):
        PretrainSettings.from_values({"recipe": "nokoleo", "dino": {"weight": 0.0}})


def test_weights_over_a_run():
    """SAR: up, then a cosine to 0. SPAN: up, held, to its floor. LOCA: up and held."""
    learner = learner_of(tiny(recipe="span+sar+loca", span={"floor": 0.1}))
    at = [learner.weights(p) for p in (0.0, 0.025, 0.05, 0.1, 0.55, 1.0)]
    assert [w["dino"] for w in at] == [1.0] * 6
    np.testing.assert_allclose([w["span"] for w in at][:4], [0, 0.15, 0.3, 0.3])
    np.testing.assert_allclose([w["span"] for w in at][5], 0.03, atol=1e-9)
    np.testing.assert_allclose([w["loca"] for w in at], [0, 0.25, 0.5, 0.5, 0.5, 0.5])
    sar = [w["sar"] for w in at]
    np.testing.assert_allclose(sar, [0, 0.0025, 0.005, 0.01, 0.005, 0], atol=1e-9)
