"""Sinkhorn's marginals, and two processes that equal one (methods 11, point 14)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medprior.pretrain.objectives.dino import apply_sinkhorn

from . import processes
from .scenes import tiny


def test_marginals():
    torch.manual_seed(0)
    q = apply_sinkhorn(torch.randn(64, 32), 0.5, iterations=30)
    assert torch.allclose(q.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(q.sum(0), torch.full((32,), 2.0), atol=1e-3)


def test_three_rounds_as_loca_uses_them():
    torch.manual_seed(0)
    q = apply_sinkhorn(torch.randn(64, 32).log_softmax(-1), 1.0)
    assert torch.allclose(q.sum(1), torch.ones(64), atol=1e-6)
    columns = q.sum(0) / 2
    assert (columns - 1).abs().max() < 1e-3
    twin = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for _ in range(3):
        twin = twin / twin.sum(0)
        twin = twin / twin.sum(1, keepdim=True)
    assert torch.allclose(q, twin, atol=1e-6)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two gloo processes find; nothing may warn of what is deprecated."""
    folder = tmp_path_factory.mktemp("processes")
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", processes.__name__, str(folder)]
    running = [
        subprocess.Popen(
            [*command, str(rank), "2"], env=env, cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    assert "deprecated" not in errors[0].lower()
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("name", processes.CASES)
def test_two_processes_give_losses_and_gradients_of_one(name, two):
    one = processes.case(tiny(**processes.CASES[name]), 0, 1)
    assert one["losses"].keys() == two[name]["losses"].keys()
    for key, value in one["losses"].items():
        assert two[name]["losses"][key] == pytest.approx(value, rel=1e-5, abs=1e-7), key
    for key, value in one["logs"].items():
        assert two[name]["logs"][key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
    left, right = np.array(one["gradient"]), np.array(two[name]["gradient"])
    assert np.linalg.norm(left - right) < 1e-4 * np.linalg.norm(left)
    for key, value in one["kept"].items():
        np.testing.assert_allclose(two[name]["kept"][key], value, rtol=1e-4, atol=1e-6)


def test_sinkhorn_balances_the_rows_of_both(two):
    np.testing.assert_allclose(two["balanced"], processes.balanced(0, 1), rtol=1e-5, atol=1e-7)


def test_gradients_pass_through_sums_and_gathering(two):
    np.testing.assert_allclose(two["collectives"], processes.collectives(0, 1), rtol=1e-6)
