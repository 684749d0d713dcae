"""Losses under bfloat16 autocast equal their float32 values and gradients; the teacher drops no branch."""

import pytest
import timm
import torch

from medprior.networks.vit import disable_drop_path
from medprior.pretrain import PretrainSettings
from medprior.pretrain.learner import Learner
from medprior.pretrain.objectives.dino import apply_sinkhorn, centred_softmax, dino_loss
from medprior.pretrain.objectives.koleo import koleo_loss


def value_and_gradient(loss, x, bfloat16):
    x = x.clone().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        value = loss(x)
    value.backward()
    return value.detach(), x.grad


def clustered_features(count=64, width=384):
    """Features whose neighbours differ by less than bfloat16 resolves, as early in a run."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, width, generator=generator) + 0.05 * torch.randn(count, width, generator=generator)


@pytest.mark.parametrize(
    "teacher_of",
    [lambda s: centred_softmax(s, s.mean((0, 1)), 0.04), lambda s: torch.stack([apply_sinkhorn(h, 0.05) for h in s])],
)
def test_dino_is_computed_in_float32(teacher_of):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(4, 16, 256, generator=generator)
    teacher = teacher_of(torch.randn(2, 16, 256, generator=generator))
    expected, expected_gradient = value_and_gradient(lambda x: dino_loss(x, teacher, 0.1), scores, bfloat16=False)
    value, gradient = value_and_gradient(lambda x: dino_loss(x, teacher, 0.1), scores, bfloat16=True)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


def test_koleo_finds_the_same_neighbours():
    features = clustered_features()
    expected, expected_gradient = value_and_gradient(koleo_loss, features, bfloat16=False)
    value, gradient = value_and_gradient(koleo_loss, features, bfloat16=True)
    assert torch.equal(value, expected)
    assert torch.equal(gradient, expected_gradient)


def small_learner():
    settings = PretrainSettings.from_values(
        {
            "recipe": "dino",
            "batch": 4,
            "steps": 1,
            "network": {"width": 24, "depth": 4, "heads": 3, "drop_path": 0.5},
            "dino": {"prototypes": 16},
        }
    )
    torch.manual_seed(0)
    return Learner(settings.resolve(4)).train()


def test_only_the_student_drops_branches():
    learner = small_learner()
    images = torch.rand(8, 1, 32, 32)
    teacher = [learner.teacher.backbone(images).cls for _ in range(2)]
    student = [learner.student.backbone(images).cls for _ in range(2)]
    assert torch.equal(*teacher)
    assert not torch.equal(*student)


def test_drop_path_of_timm_is_disabled_too():
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, in_chans=1, drop_path_rate=0.5).train()
    disable_drop_path(network)
    images = torch.rand(8, 1, 32, 32)
    assert torch.equal(network(images), network(images))
