"""Two gloo processes give the losses, gradients and buffers of one; one process changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medprior.locks import LOCK_FILE, hold_lock
from medprior.networks.vit import DropPath
from medprior.pretrain.distributed import (
    BatchStandardise,
    all_gather_rows,
    all_reduce_sum,
    build_host_group,
    count_all_rows,
    find_largest_number,
    process_rank,
    wait_for_processes,
    world_size,
)

from . import processes
from .multi_crops import WITHOUT_DINO, build_multi_crop, learner_of, pictures, tiny


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
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
    return json.loads((folder / "results.json").read_text())


def assert_same_step(one, two):
    assert one["losses"].keys() == two["losses"].keys()
    for key, value in one["losses"].items():
        assert two["losses"][key] == pytest.approx(value, rel=1e-5, abs=1e-7), key
    for key, value in one["logs"].items():
        assert two["logs"][key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
    left, right = np.array(one["gradient"]), np.array(two["gradient"])
    assert np.linalg.norm(left - right) <= 1e-4 * np.linalg.norm(left)
    for key, value in one["kept"].items():
        np.testing.assert_allclose(two["kept"][key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", processes.CASES)
def test_two_processes_give_losses_and_gradients_of_one(name, two_processes):
    assert_same_step(processes.take_step(tiny(**processes.CASES[name]), 0, 1), two_processes[name])


@pytest.mark.parametrize("name", processes.DROPPING)
def test_with_drop_path_they_give_those_of_one_that_drops_the_same(name, two_processes, monkeypatch):
    settings = tiny(**processes.DROPPING[name])
    unlike = processes.take_step(settings, 0, 1)
    monkeypatch.setattr(DropPath, "forward", processes.replay_dropped_branches(2))
    one = processes.take_step(settings, 0, 1)
    assert one["losses"] != unlike["losses"]  # other branches are dropped, and it matters
    assert_same_step(one, two_processes[f"dropping {name}"])


def test_attention_alone_reaches_every_parameter():
    """Those behind the last attention get a gradient of 0, which several processes wait for."""
    learner = learner_of(tiny(recipe="span", **WITHOUT_DINO))
    images, masks = pictures(4)
    losses, _ = learner.compute_losses(learner.student, build_multi_crop(learner.settings, learner, images, masks))
    losses["span"].backward()
    gradient = {name: p.grad for name, p in learner.student.named_parameters()}
    assert all(x is not None for x in gradient.values())
    unread = [name for name, x in gradient.items() if not x.any()]
    assert len([name for name in unread if name.startswith(("backbone.blocks.1", "backbone.norm"))]) == 10


LOCK_SCRIPT = """
import sys
import time
from pathlib import Path
from torch import distributed
from medprior.errors import MedpriorError
from medprior.pretrain.distributed import hold_training_lock, wait_for_processes
folder, rank = Path(sys.argv[1]), int(sys.argv[2])
distributed.init_process_group("gloo", init_method=f"file://{folder / sys.argv[3]}", rank=rank, world_size=2)
try:
    with hold_training_lock(folder, "this backbone"):
        print("held", flush=True)
except MedpriorError as error:
    print(str(error).partition(";")[0], flush=True)
came = folder / f"{sys.argv[3]}_came"
if rank == 1:
    time.sleep(0.5)
    came.touch()
wait_for_processes()
print(came.exists(), flush=True)
distributed.barrier()
"""


def run_two_lockers(folder, meeting):
    """What each of two gloo processes of one run prints."""
    command = [sys.executable, "-c", LOCK_SCRIPT, str(folder)]
    running = [subprocess.Popen([*command, str(rank), meeting], stdout=-1, text=True) for rank in range(2)]
    return [process.communicate(timeout=120)[0].splitlines() for process in running]


def test_the_first_process_of_a_run_holds_the_lock_and_waits_for_the_other(tmp_path):
    assert run_two_lockers(tmp_path, "free") == [["held", "True"], ["held", "True"]]
    with hold_lock(tmp_path / LOCK_FILE, "this backbone"):
        refused = f"{tmp_path.name}: another run is writing this backbone"
        assert run_two_lockers(tmp_path, "taken") == [[refused, "True"], ["held", "True"]]


HOST_SCRIPT = """
import sys
import torch
import torch.testing._internal.distributed.fake_pg
from torch import distributed
from medprior.pretrain.distributed import build_host_group, find_largest_number
meeting, rank = sys.argv[1], int(sys.argv[2])
distributed.init_process_group("fake", store=distributed.FileStore(meeting, 2), rank=rank, world_size=2)
unchanged = torch.tensor(rank)
distributed.all_reduce(unchanged, distributed.ReduceOp.MAX)
group = build_host_group()
print(int(unchanged), find_largest_number(15 * rank, group), find_largest_number(2 - 2 * rank, group), flush=True)
distributed.barrier(group)
"""


def test_a_number_is_compared_by_the_hosts_alone(tmp_path):
    """The run's own group, NCCL on GPUs, is not asked: here it is one whose collectives do nothing."""
    command = [sys.executable, "-c", HOST_SCRIPT, str(tmp_path / "meeting")]
    running = [subprocess.Popen([*command, str(rank)], stdout=-1, text=True) for rank in range(2)]
    assert [process.communicate(timeout=120)[0].split() for process in running] == [["0", "15", "2"], ["1", "15", "2"]]


def test_one_process_needs_no_group_and_waits_for_none():
    wait_for_processes()
    assert build_host_group() is None
    assert find_largest_number(15, None) == 15


def test_sinkhorn_balances_the_rows_of_both(two_processes):
    np.testing.assert_allclose(two_processes["balanced"], processes.balance_uneven_shares(0, 1), rtol=1e-5, atol=1e-7)


def test_gradients_pass_through_sums_and_gathering(two_processes):
    np.testing.assert_allclose(two_processes["collectives"], processes.differentiate_collectives(0, 1), rtol=1e-6)


def test_one_process_changes_nothing():
    x = torch.tensor([[1.0], [3.0]])
    assert all_reduce_sum(x) is x
    assert all_gather_rows(x) is x
    assert (count_all_rows(x), count_all_rows(x[:0])) == (2, 1)
    assert (world_size(), process_rank()) == (1, 0)


def test_features_are_standardised_by_the_biased_variance():
    layer = BatchStandardise(2)
    x = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert layer(x).flatten().tolist() == pytest.approx([-1, 0, 1, 0], abs=1e-5)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0]))
        layer.bias.copy_(torch.tensor([0.5, -1.0]))
    assert layer(x).flatten().tolist() == pytest.approx([-1.5, -1, 2.5, -1], abs=1e-4)
    assert layer(x.bfloat16()).dtype == torch.float32
