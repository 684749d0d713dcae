"""What a stage costs, on disk and in sum."""

import json

import pytest
import torch

from medprior.evaluate.compare.cost import measure_cost, read_costs, read_peak_memory_mib, summarise_costs


def write_costs(run, **stages):
    (run / "cost.json").write_text(json.dumps(stages))


def test_a_block_is_recorded_beside_the_others_unless_it_raises(tmp_path):
    write_costs(tmp_path, before={"seconds": 3})
    with measure_cost(tmp_path, "stage"):
        pass
    with pytest.raises(RuntimeError), measure_cost(tmp_path, "broken"):
        raise RuntimeError
    costs = read_costs(tmp_path)
    assert set(costs) == {"before", "stage"}
    assert costs["before"] == {"seconds": 3}
    assert costs["stage"]["resumed"] is False
    assert costs["stage"]["since"] in ("stage", "process")


def test_a_stage_with_checkpoints_is_resumed(tmp_path):
    (tmp_path / "stage" / "checkpoints").mkdir(parents=True)
    with measure_cost(tmp_path, "stage"):
        pass
    assert read_costs(tmp_path)["stage"]["resumed"] is True


def test_memory_is_in_mib():
    """A Python process with PyTorch holds between 50 MiB and 1 TiB."""
    for is_reset in (True, False):
        assert 50 < read_peak_memory_mib(is_reset) < 2**20
    # The peak since a reset is at most that of the whole process, in the same unit.
    assert read_peak_memory_mib(True) <= 1.1 * read_peak_memory_mib(False)


def test_seconds_add_up_and_peaks_do_not(tmp_path):
    assert summarise_costs(tmp_path) == {}
    write_costs(
        tmp_path,
        backbone={"seconds": 10.0, "peak_memory_mib": 300.0, "resumed": False, "peak_gpu_memory_mib": 7.0},
        tuned={"seconds": 5.0, "peak_memory_mib": 200.0, "resumed": False},
    )
    assert summarise_costs(tmp_path) == {
        "cost.peak_memory_mib": 300.0, "cost.train_seconds": 15.0, "cost.peak_gpu_memory_mib": 7.0,
    }  # fmt: skip


def test_a_resumed_run_has_no_seconds(tmp_path):
    write_costs(
        tmp_path,
        backbone={"seconds": 10.0, "peak_memory_mib": 300.0, "resumed": True},
        tuned={"seconds": 5.0, "peak_memory_mib": 400.0, "resumed": False},
    )
    assert summarise_costs(tmp_path) == {"cost.peak_memory_mib": 400.0}


def test_the_cost_names_the_device_the_stage_ran_on(tmp_path):
    """The meta device is no GPU: a machine's GPU that a stage does not use is not in its cost."""
    for device in ("cpu", "meta"):
        with measure_cost(tmp_path, device, torch.device(device)):
            pass
        cost = read_costs(tmp_path)[device]
        assert cost["device"] == device
        assert "peak_gpu_memory_mib" not in cost


@pytest.mark.gpu
def test_the_memory_of_a_gpu_is_its_tensors(tmp_path):
    device = torch.device("cuda", 0)
    with measure_cost(tmp_path, "stage", device):
        torch.zeros(2**20, device=device)
    cost = read_costs(tmp_path)["stage"]
    assert cost["device"] == torch.cuda.get_device_name(device)
    assert cost["peak_gpu_memory_mib"] >= 4
