"""LOCA's head: its chance level and its use of the visible patches."""

import numpy as np
import torch

from medprior.pretrain.objectives.locator import Locator

from ..slow_twins import softmax


def test_locator_uses_what_it_sees():
    torch.manual_seed(0)
    locator = Locator(48, 6, 9)
    queries, context = torch.randn(1, 4, 48), torch.randn(1, 3, 48)
    plain = locator(queries, context)
    assert torch.allclose(plain, locator(queries, context[:, [2, 0, 1]]), atol=1e-5)
    assert not torch.allclose(plain, locator(queries, context.roll(1, -1)), atol=1e-4)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def test_against_a_twin_of_two_heads():
    torch.manual_seed(0)
    locator = Locator(4, 2, 3).double()
    with torch.no_grad():
        for parameter in locator.parameters():
            if parameter.ndim == 2:
                parameter.normal_()
    queries, context = torch.randn(1, 3, 4).double(), torch.randn(1, 5, 4).double()
    weight = {name: value.numpy() for name, value in locator.state_dict().items()}
    q = layer_norm(queries[0].numpy()) @ weight["query.weight"].T
    k, v = np.split(layer_norm(context[0].numpy()) @ weight["key_value.weight"].T, 2, axis=1)
    heads = [slice(0, 2), slice(2, 4)]
    attended = np.hstack([softmax(q[:, h] @ k[:, h].T / np.sqrt(2)) @ v[:, h] for h in heads])
    x = queries[0].numpy() + attended @ weight["project.weight"].T
    hidden = torch.nn.functional.gelu(torch.from_numpy(layer_norm(x) @ weight["mlp.0.weight"].T)).numpy()
    x = x + hidden @ weight["mlp.2.weight"].T
    expected = layer_norm(x) @ weight["classify.weight"].T
    np.testing.assert_allclose(locator(queries, context)[0].detach().numpy(), expected, atol=1e-9)


def test_one_score_per_cell_of_each_query():
    assert Locator(48, 6, 36)(torch.randn(2, 5, 48), torch.randn(2, 7, 48)).shape == (2, 5, 36)
