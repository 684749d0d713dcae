"""Which heads follow which structures."""

import pytest
import torch

from medprior.errors import ConfigError
from medprior.pretrain.objectives.head_assignment import assign_heads, check_free_heads, find_best_assignment

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


def test_half_of_the_heads_stay_free():
    check_free_heads(3, 6)
    with pytest.raises(ConfigError, match=r"at least 6.*5"):
        check_free_heads(3, 5)
    with pytest.raises(ConfigError, match="too many structures"):
        assign_heads(("a", "b", "c", "d"), 6, None)


def test_a_head_map_is_read_in_the_priors_order_and_may_take_any_head():
    heads = assign_heads(NAMES, 3, {"heart": 0, "left_lung": 2, "right_lung": 1})
    assert list(heads.items()) == [("left_lung", 2), ("right_lung", 1), ("heart", 0)]


@pytest.mark.parametrize(
    "head_map", [{"a": 0, "b": 0}, {"a": 0}, {"a": 0, "b": 1, "c": 2}, {"a": 0, "b": 6}, {"a": -1, "b": 1}, {}]
)
def test_a_head_map_that_does_not_fit_is_refused(head_map):
    with pytest.raises(ConfigError, match="head map"):
        assign_heads(("a", "b"), 6, head_map)
    assert assign_heads(("a", "b"), 6, {"a": 0, "b": 5}) == {"a": 0, "b": 5}


def test_the_least_sum_is_not_the_least_first_choice():
    assert find_best_assignment(torch.tensor([[1.0, 2.0], [1.0, 10.0]])) == [1, 0]
