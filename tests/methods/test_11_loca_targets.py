"""LOCA's targets and losses (methods 11, point 11; tests of section 7)."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from medprior.geometry import Views
from medprior.pretrain.objectives.loca import cluster_loss, location_loss, mean_entropy_penalty
from medprior.pretrain.objectives.locator import Locator
from medprior.pretrain.objectives.positions import locate_patches, sample_visible_patches

from .scenes import gradients, learner_of, pictures, scene_of, tiny


def view(box, flip=False, grid=(14, 14)):
    return Views(np.array([box], dtype=float), np.array([flip]), grid)


def cells(reference, queries):
    return locate_patches(reference, queries)[0]


def test_known_targets():
    box = [0.1, 0.2, 0.6, 0.5]
    whole = view([0, 0, 1, 1])
    assert cells(view(box), view(box)).tolist() == list(range(196))
    rows = np.arange(196).reshape(14, 14)
    assert cells(view(box), view(box, flip=True)).tolist() == rows[:, ::-1].ravel().tolist()
    assert cells(view(box, flip=True), view(box)).tolist() == rows[:, ::-1].ravel().tolist()
    assert cells(view([0, 0, 0.4, 0.4]), view([0.5, 0.5, 0.4, 0.4])).tolist() == [-1] * 196
    corner = cells(whole, view([0.5, 0.5, 0.5, 0.5], grid=(7, 7)))
    assert corner[:7].tolist() == list(range(105, 112))


def test_targets_are_those_of_an_index_image():
    """The authors' way: cut an image of cell numbers, nearest neighbour."""
    rng = np.random.default_rng(0)
    agree = []
    for _ in range(60):
        side = rng.uniform(0.3, 0.9, 2)
        reference, query = (
            view([*(rng.random(2) * (1 - side)), *side], rng.random() < 0.5, grid) for grid in ((14, 14), (6, 6))
        )
        index = np.full((700, 700), -1.0)
        y, x = (np.indices((700, 700)) + 0.5) / 700
        box = reference.box[0]
        v, u = (y - box[0]) / box[2], (x - box[1]) / box[3]
        inside = (v >= 0) & (v < 1) & (u >= 0) & (u < 1)
        u = 1 - u if reference.flip[0] else u
        number = np.floor(v * 14) * 14 + np.minimum(np.floor(u * 14), 13)
        index[inside] = number[inside]
        centres = query.patch_centres()[0] * 700 - 0.5
        looked_up = map_coordinates(index, centres.T, order=0, mode="nearest")
        agree.append(np.mean(looked_up == cells(reference, query)))
    assert np.mean(agree) >= 0.98


def test_targets_do_not_depend_on_intensity():
    images, _ = pictures(4)
    found = []
    for brightness in (0.0, 0.5):
        settings = tiny(recipe="loca", intensity={"brightness": brightness})
        learner = learner_of(settings)
        scene = scene_of(settings, learner, images)
        found.append(learner.objectives["loca"].targets(scene)[0])
    assert torch.equal(found[0].cell, found[1].cell)
    assert torch.equal(found[0].visible, found[1].visible)
    assert (found[0].cell >= 0).float().mean() > 0.3


def test_visible_patches():
    rng = np.random.default_rng(0)
    chosen = sample_visible_patches(rng, 500, 196, 0.2, "consecutive")
    assert chosen.shape == (500, 39)
    assert (np.diff(chosen, axis=1) == 1).all()
    assert chosen.min() == 0
    assert chosen.max() == 195
    chosen = sample_visible_patches(rng, 500, 196, 0.2, "random")
    assert all(len(set(row)) == 39 for row in chosen.tolist())
    assert (np.diff(chosen, axis=1) != 1).any()


def test_chance_is_the_log_of_the_cells():
    cell = torch.randint(0, 196, (2, 50))
    assert location_loss(torch.zeros(2, 50, 196), cell).item() / 100 == pytest.approx(5.2781, abs=1e-4)
    torch.manual_seed(0)
    scores = Locator(48, 6, 196)(torch.randn(2, 50, 48), torch.randn(2, 39, 48))
    assert location_loss(scores, cell).item() / 100 == pytest.approx(math.log(196), abs=0.1)


def test_locator_uses_what_it_sees():
    torch.manual_seed(0)
    locator = Locator(48, 6, 9)
    queries, context = torch.randn(1, 4, 48), torch.randn(1, 3, 48)
    plain = locator(queries, context)
    assert torch.allclose(plain, locator(queries, context[:, [2, 0, 1]]), atol=1e-5)
    assert not torch.allclose(plain, locator(queries, context.roll(1, -1)), atol=1e-4)


@pytest.mark.parametrize("reference", ["teacher", "student"])
def test_gradient_reaches_the_reference_only_without_the_moving_average(reference):
    """Seen through pixels: whether the position loss depends on the student's global view 1."""
    settings = tiny(
        recipe="loca", loca={"reference": reference, "cluster": False},
        dino={"weight": 0.0, "koleo_weight": 0.0},
    )  # fmt: skip
    learner = learner_of(settings)
    scene = scene_of(settings, learner, pictures(4)[0])
    pixels = scene.globals_.pixels.requires_grad_()
    losses, _ = learner.compute_losses(learner.student, scene)
    losses["loca"].backward()
    reached = pixels.grad.abs().amax((1, 2, 3)) > 0
    assert reached[4:].all()
    assert reached[:4].all().item() is (reference == "student")
    assert all(p.grad is None for p in learner.teacher.parameters())


def test_cluster_loss_and_even_use_of_prototypes():
    torch.manual_seed(0)
    targets = torch.rand(1, 9, 8).softmax(-1)
    cell = torch.tensor([[4, -1, 0]])
    scores = torch.randn(1, 3, 8)
    log_p = (scores / 0.1).log_softmax(-1)[0]
    expected = -(targets[0, 4] * log_p[0]).sum() - (targets[0, 0] * log_p[2]).sum()
    assert cluster_loss(scores, targets, cell, 0.1).item() == pytest.approx(expected.item())
    assert mean_entropy_penalty(torch.zeros(2, 5, 8), 0.1).item() == pytest.approx(-math.log(8))
    one = torch.zeros(2, 5, 8)
    one[..., 3] = 50
    assert mean_entropy_penalty(one, 0.1).item() == pytest.approx(0, abs=1e-4)


def test_cluster_loss_is_off_beside_ibot():
    assert tiny(recipe="loca").loca.cluster
    assert not tiny(recipe="loca+ibot").loca.cluster
    settings = tiny(recipe="loca")
    learner = learner_of(settings)
    found = gradients(learner, scene_of(settings, learner, pictures(4)[0]), {"loca": 1.0})
    assert any(name.startswith("parts.loca_prototypes") for name in found)
    assert not any(name.startswith("head.") for name in found)
    assert "loca" not in learner.teacher.parts
