"""KoLeo (Sablayrolles et al. 2019; DINOv2, arXiv 2304.07193): nearest neighbours never share an image."""

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.koleo import KoleoObjective, koleo_loss
from medprior.pretrain.objectives.objective import NetworkOutputs

from ..multi_crops import build_multi_crop, learner_of, pictures, tiny


def test_koleo_against_twin():
    x = np.random.default_rng(1).normal(size=(6, 5))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = [min(np.linalg.norm(unit[i] - unit[j]) for j in range(6) if j != i) for i in range(6)]
    twin = -np.mean(np.log(np.array(nearest) + 1e-8))
    assert koleo_loss(torch.tensor(x)).item() == pytest.approx(twin, rel=1e-4)


def test_two_views_of_an_image_are_no_neighbours():
    """The views of each image are equal: were they neighbours, their distance would be 0."""
    settings = tiny()
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    torch.manual_seed(0)
    cls = torch.randn(4, 48).repeat(2, 1)
    views, _ = learner.student([multi_crop.globals_.pixels], 0)
    tokens = [type(views[0])(cls, views[0].patches, views[0].grid)]
    outputs = NetworkOutputs(learner.student, learner.teacher, tokens, None, None, None, torch.empty(0))
    loss, _ = KoleoObjective(settings).loss(multi_crop, None, None, outputs)
    assert loss.item() == pytest.approx(koleo_loss(cls[:4]).item())
    assert loss.item() < 1
    assert koleo_loss(cls).item() > 10


def test_equal_features_give_finite_gradients():
    x = torch.ones(4, 3, requires_grad=True)
    koleo_loss(x).backward()
    assert torch.isfinite(x.grad).all()


def test_by_hand_on_a_circle():
    """Unit vectors at 0, 60 and 180 degrees: the nearest are 1, 1 and the root of 3 away."""
    x = torch.tensor([[2.0, 0.0], [0.5, 0.8660254], [-7.0, 0.0]])
    assert koleo_loss(x).item() == pytest.approx(-0.5493061 / 3, abs=1e-5)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert koleo_loss(opposite).item() == pytest.approx(-0.6931472, abs=1e-5)


def test_its_weight_is_in_dinos_section():
    assert KoleoObjective.create(tiny(dino={"koleo_weight": 0.0}), ()) is None
    koleo = KoleoObjective.create(tiny(recipe="span", dino={"weight": 0.0, "koleo_weight": 0.25}), ())
    assert koleo.weight(0.0) == koleo.weight(1.0) == 0.25
