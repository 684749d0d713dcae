"""What is out of the reference or hidden contributes exactly nothing (methods 11, point 12)."""

import torch

from medprior.pretrain.objectives.loca import cluster_loss, location_loss

from .scenes import learner_of, pictures, scene_of, tiny


def test_queries_outside_contribute_exactly_zero():
    torch.manual_seed(0)
    scores = torch.randn(2, 6, 9, requires_grad=True)
    cell = torch.tensor([[0, -1, 8, -1, 3, 3], [-1] * 6])
    location_loss(scores, cell).backward()
    outside = cell < 0
    assert torch.equal(scores.grad[outside], torch.zeros(8, 9))
    assert scores.grad[~outside].abs().amax(-1).min() > 0
    full = location_loss(scores[0][None, cell[0] >= 0], cell[0][None, cell[0] >= 0])
    assert torch.equal(location_loss(scores, cell), full)
    # -1 as an index would wrap to the last cell: what stands there must not matter
    targets = torch.rand(2, 9, 5)
    prototypes = torch.randn(2, 6, 5)
    first = cluster_loss(prototypes, targets, cell, 0.1)
    targets[1] = 77.0
    assert torch.equal(first, cluster_loss(prototypes, targets, cell, 0.1))


def test_all_outside_is_zero_not_nan():
    settings = tiny(recipe="loca", crops={"globals_scale": [0.3, 0.3], "locals": 0})
    learner = learner_of(settings)
    scene = scene_of(settings, learner, pictures(4)[0])
    scene.globals_.geometry.box[4:, :2] += 5  # views elsewhere
    losses, _ = learner.compute_losses(learner.student, scene)
    losses["loca"].backward()
    assert torch.isfinite(losses["loca"])
    block = learner.student.parts["loca"]
    assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in block.parameters())


def test_hidden_patches_are_no_queries_and_hold_no_target():
    settings = tiny(recipe="all")
    learner = learner_of(settings)
    images, masks = pictures(6)
    scene = scene_of(settings, learner, images, masks)
    assert scene.masked.any()
    located, _ = learner.objectives["loca"].targets(scene)
    second = scene.masked[6:]
    assert (located.cell[:, : second.shape[1]][second] == -1).all()
    (followed,), _ = learner.objectives["span"].targets(scene)
    covered = followed.cover.transpose(1, 2)[scene.masked]
    assert torch.equal(covered, torch.zeros_like(covered))
