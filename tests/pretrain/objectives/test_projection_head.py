"""The projection head (Caron et al. 2021, sec. 3.1): cosines of an MLP's output with the prototypes."""

import numpy as np
import pytest
import torch

from medprior.pretrain.distributed import BatchStandardise
from medprior.pretrain.objectives.projection_head import ProjectionHead, build_projection_head

from ..multi_crops import tiny


def test_by_hand_with_layers_that_change_nothing():
    """GELU twice takes 1 to 0.67301 and -1 to -0.06933; their direction is (0.99474, -0.10247)."""
    head = ProjectionHead(2, 2, 2, 3, batch_norm=False)
    with torch.no_grad():
        for layer in head.mlp[::2]:
            layer.weight.copy_(torch.eye(2))
        head.prototypes.copy_(torch.tensor([[5.0, 0.0], [0.0, 0.1], [-2.0, 0.0]]))
    scores = head(torch.tensor([[1.0, -1.0]]))
    assert scores[0].tolist() == pytest.approx([0.994736, -0.102469, -0.994736], abs=1e-5)


def test_scores_are_cosines_whatever_the_lengths():
    torch.manual_seed(0)
    head = ProjectionHead(6, 8, 4, 5, batch_norm=False)
    features = torch.randn(7, 6)
    with torch.no_grad():
        scores = head(features).numpy()
        bottleneck, prototypes = head.mlp(features).numpy(), head.prototypes.numpy()
        lengths = np.linalg.norm(bottleneck, axis=1)[:, None] * np.linalg.norm(prototypes, axis=1)
        np.testing.assert_allclose(scores, bottleneck @ prototypes.T / lengths, atol=1e-5)
        head.prototypes.mul_(7.0)
        np.testing.assert_allclose(head(features).numpy(), scores, atol=1e-6)


def test_both_hidden_layers_are_standardised_on_request():
    for batch_norm, count in ((True, 2), (False, 0)):
        head = ProjectionHead(6, 8, 4, 5, batch_norm=batch_norm)
        assert sum(isinstance(layer, BatchStandardise) for layer in head.mlp) == count
    assert isinstance(head.mlp[-1], torch.nn.Linear)


def test_shape_and_batch_norm_are_those_of_the_settings():
    head = build_projection_head(tiny(dino={"batch_norm": False}))
    assert [tuple(layer.weight.shape) for layer in head.mlp[::2]] == [(32, 48), (32, 32), (16, 32)]
    assert head.prototypes.shape == (32, 16)
    assert len(build_projection_head(tiny()).mlp) == 7


def test_prototypes_start_as_they_are_asked_to():
    """Rows of 256: 0.32 long by default, 0.58 in DINO's code, 1 in LOCA's."""
    lengths = {}
    for init in ("normal", "uniform", "unit"):
        torch.manual_seed(0)
        head = ProjectionHead(6, 8, 256, 400, batch_norm=False, prototype_init=init)
        lengths[init] = head.prototypes.detach().norm(dim=1)
        if init == "uniform":
            assert 0.062 < head.prototypes.abs().max() <= 1 / 16
    assert lengths["normal"].mean().item() == pytest.approx(0.32, abs=0.01)
    assert lengths["uniform"].mean().item() == pytest.approx(1 / 3**0.5, abs=0.005)
    torch.testing.assert_close(lengths["unit"], torch.ones(400))


def test_locas_head_has_its_own_shape_or_that_of_dino():
    own = tiny(recipe="loca", loca={"prototypes": 12, "hidden": 24, "batch_norm": False})
    head = build_projection_head(own, own.loca)
    assert [tuple(layer.weight.shape) for layer in head.mlp[::2]] == [(24, 48), (24, 24), (16, 24)]
    assert head.prototypes.shape == (12, 16)
    shared = tiny(recipe="loca")
    assert build_projection_head(shared, shared.loca).prototypes.shape == (32, 16)
