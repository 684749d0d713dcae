"""A structure that a view hardly shows teaches nothing (methods 11, point 9)."""

import torch

from medprior.geometry import Views
from medprior.pretrain.objectives.objective import PriorMaps, Scene
from medprior.pretrain.objectives.span import find_visible_pairs
from medprior.pretrain.views.augment import ViewBatch

from .scenes import learner_of, tiny


def test_gate_needs_a_quarter_of_the_structure_and_two_percent_of_the_view():
    patches = torch.zeros(4, 1, 100)
    patches[0, 0, :50] = 1  # all of it
    patches[1, 0, :10] = 1  # a fifth of it
    patches[2, 0, :1] = 1  # all of it, but 1 % of the view
    source = torch.tensor([[0.5], [0.5], [0.01], [0.5]])
    assert find_visible_pairs(patches, source, 0.25, 0.02).flatten().tolist() == [True, False, False, False]


def targets_of(boxes, maps, hidden=None, trust=1.0):
    """SPAN's targets for one image seen in two global views."""
    settings = tiny(recipe="span")
    span = learner_of(settings).objectives["span"]
    box = torch.tensor(boxes, dtype=torch.float64).numpy()
    geometry = Views(box, box[:, 0] > 9, (6, 6))
    views = ViewBatch(torch.zeros(2, 1, 48, 48), geometry, torch.zeros(2, dtype=torch.long))
    prior = PriorMaps(maps, torch.full((1,), trust))
    return span.targets(Scene(views, None, prior, hidden))


def organ():
    """One structure in the upper left eighth, one everywhere, one nowhere."""
    maps = torch.zeros(1, 3, 96, 96)
    maps[0, 0, :48, :24] = 1
    maps[0, 1] = 1
    return maps


def test_gate_on_real_crops():
    (followed,), count = targets_of([[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], organ())
    assert followed.gate.tolist() == [[1, 1, 0], [0, 1, 0]]
    assert count.item() == 3
    # a crop of the lower right sixth of the first structure alone: less than a quarter of it
    (followed,), _ = targets_of([[0.0, 0.2, 0.5, 0.5], [0, 0, 0.5, 0.5]], organ())
    assert followed.gate[:, 0].tolist() == [0, 1]


def test_trust_weighs_pairs():
    (followed,), count = targets_of([[0, 0, 1, 1], [0, 0, 1, 1]], organ(), trust=0.5)
    assert followed.gate[:, 1].tolist() == [0.5, 0.5]
    assert count.item() == 2


def test_a_structure_that_is_hidden_does_not_count():
    hidden = torch.zeros(2, 36, dtype=torch.bool)
    hidden[0].view(6, 6)[:3, :2] = True
    (followed,), _ = targets_of([[0, 0, 1, 1], [0, 0, 1, 1]], organ(), hidden)
    assert followed.gate[:, 0].tolist() == [0, 1]
    assert followed.cover[0, 1][hidden[0]].abs().max() == 0


def test_a_closed_gate_gives_no_loss_and_no_gradient():
    settings = tiny(recipe="span", dino={"weight": 0.0, "koleo_weight": 0.0})
    learner = learner_of(settings)
    box = torch.tensor([[0.5, 0.5, 0.5, 0.5]] * 2, dtype=torch.float64).numpy()
    geometry = Views(box, box[:, 0] > 9, (6, 6))
    views = ViewBatch(torch.rand(2, 1, 48, 48), geometry, torch.zeros(2, dtype=torch.long))
    empty = PriorMaps(torch.zeros(1, 3, 96, 96), torch.ones(1))
    losses, _ = learner.compute_losses(learner.student, Scene(views, None, empty))
    losses["span"].backward()
    assert losses["span"].item() == 0
    grads = [p.grad for p in learner.student.parameters() if p.grad is not None]
    assert all(float(g.abs().max()) == 0 for g in grads)
