import pytest
import torch

from medprior.bench import networks
from medprior.bench.networks import build_bench_network, build_network_step, count_parameters, multiply_rollout
from medprior.networks.rollout import compute_dense_rollout

SMALL = networks.VIT_TINY | {"width": 24, "depth": 2, "heads": 3, "patch": 8, "image_size": 16}


def test_both_forms_of_the_roll_out_agree():
    torch.manual_seed(0)
    attention = [torch.rand(2, 5, 5).softmax(-1) for _ in range(3)]
    weights = torch.rand(2, 4, 5)
    torch.testing.assert_close(multiply_rollout(attention, weights), compute_dense_rollout(attention, weights))


def test_the_roll_out_begins_with_the_first_block():
    first, second = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    # (A + 1) / 2: the second row of the product is (0, 1) . [[1, 0], [0.5, 0.5]].
    rolled = multiply_rollout([first, second], torch.tensor([[[0.0, 1.0]]]))
    assert rolled.tolist() == [[[0.5, 0.5]]]


def test_parameters_are_counted_by_hand():
    # One block more: 12 D^2 + 13 D of a block with biases, norms, and two LayerScales.
    more = count_parameters(SMALL | {"depth": 3}) - count_parameters(SMALL)
    assert more == pytest.approx(12 * 24**2 + 13 * 24, abs=4 * 24)
    assert count_parameters(SMALL | {"life": True}) > count_parameters(SMALL)


def test_a_step_gives_every_weight_a_gradient(monkeypatch):
    monkeypatch.setattr(networks, "VIT_TINY", SMALL)
    network = build_bench_network({})
    build_network_step(network, torch.rand(2, 1, 16, 16), capture=True)()
    assert all(parameter.grad is not None for parameter in network.blocks.parameters())


def test_the_ratio_is_the_median_of_the_pairs(monkeypatch, capsys):
    seconds = iter([9.0, 3.0, 2.0, 2.0, 8.0, 1.0])
    monkeypatch.setattr(networks, "PAIRS", 3)
    monkeypatch.setattr(networks, "measure_wall_seconds", lambda call: next(seconds))
    networks.print_time_ratio("a / b", lambda: None, lambda: None)
    assert capsys.readouterr().out == "a / b: 3.00 [1.00, 8.00]\n"
