"""Which heads follow which structures."""

import pytest
import torch

from medprior.pretrain.objectives.head_assignment import assign_heads, find_best_assignment

NAMES = ("left_lung", "right_lung", "heart")


def test_first_heads_and_with_life_the_last():
    assert assign_heads(NAMES, 6, None) == {"left_lung": 0, "right_lung": 1, "heart": 2}
    assert assign_heads(NAMES, 9, None, life=True) == {
        "left_lung": 6, "right_lung": 7, "heart": 8,
    }  # fmt: skip


def test_best_assignment_is_the_best_of_all():
    torch.manual_seed(0)
    cost = torch.rand(3, 6)
    heads = find_best_assignment(cost)
    least = min(
        float(cost[0, a] + cost[1, b] + cost[2, c])
        for a in range(6) for b in range(6) for c in range(6) if len({a, b, c}) == 3
    )  # fmt: skip
    assert len(set(heads)) == 3
    assert sum(float(cost[k, head]) for k, head in enumerate(heads)) == pytest.approx(least)
