"""The interface of the objectives: its defaults, the multi-crop batch they read, and random numbers of their own."""

import pytest
import torch

from medprior.geometry import Views
from medprior.pretrain.objectives.dino import DinoObjective
from medprior.pretrain.objectives.objective import MultiCropBatch, Objective, isolate_rng
from medprior.pretrain.views.augment import ViewBatch

from ..multi_crops import WITHOUT_DINO, tiny


def view_batch(count, size):
    geometry = Views(torch.zeros(count, 4).double().numpy(), torch.zeros(count).bool().numpy(), (1, 1))
    return ViewBatch(torch.zeros(count, 1, size, size), geometry, torch.arange(count))


def test_a_scene_holds_two_global_views_of_each_image():
    globals_, locals_ = view_batch(6, 8), view_batch(9, 4)
    assert MultiCropBatch(globals_).size == 3
    assert MultiCropBatch(globals_).stacks == [globals_]
    assert MultiCropBatch(globals_, locals_).stacks == [globals_, locals_]


class Plain(Objective):
    name = "plain"

    def weight(self, progress):
        return 1.0

    def loss(self, multi_crop, targets, count, outputs):
        return torch.zeros(()), {}


def test_an_objective_adds_nothing_that_it_does_not_say():
    plain = Plain()
    assert plain.parts() == plain.student_parts() == {}
    assert plain.sample_masks(0, slice(0, 2), 2, (3, 3)) is None
    assert plain.structure_heads() is None
    assert plain.targets(MultiCropBatch(view_batch(2, 8))) == (None, None)
    assert plain.log_name("span_kl_0", ("heart",)) == "span_kl_0"
    assert (plain.needs_teacher, plain.scheduled, plain.cls_row_stacks, plain.gradient_period) == (False, False, 0, 0)


def test_weight_and_loss_are_for_each_to_say():
    with pytest.raises(TypeError, match="abstract"):
        Objective()


def test_at_weight_zero_an_objective_is_not_made():
    assert isinstance(DinoObjective.create(tiny(), ()), DinoObjective)
    assert DinoObjective.create(tiny(recipe="span", **WITHOUT_DINO), (0,)) is None


def test_random_numbers_of_one_name_change_none_of_the_others():
    def sample(seed, name):
        with isolate_rng(seed, name):
            return torch.rand(3).tolist()

    torch.manual_seed(5)
    first = torch.rand(1).item()
    torch.manual_seed(5)
    numbers = sample(0, "loca")
    assert torch.rand(1).item() == first
    assert sample(0, "loca") == numbers
    assert sample(1, "loca") != numbers
    assert sample(0, "ibot") != numbers
