"""LOCA's head: its chance level and its use of the visible patches."""

import torch

from medprior.pretrain.objectives.locator import Locator


def test_locator_uses_what_it_sees():
    torch.manual_seed(0)
    locator = Locator(48, 6, 9)
    queries, context = torch.randn(1, 4, 48), torch.randn(1, 3, 48)
    plain = locator(queries, context)
    assert torch.allclose(plain, locator(queries, context[:, [2, 0, 1]]), atol=1e-5)
    assert not torch.allclose(plain, locator(queries, context.roll(1, -1)), atol=1e-4)
