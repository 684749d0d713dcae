import numpy as np
import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks.device import select_device, send_to_device, uses_bfloat16


def test_a_named_device_is_taken_as_it_is():
    assert select_device("cpu") == torch.device("cpu")


def test_auto_takes_cuda_where_there_is_one():
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", ""])
def test_what_is_not_here_is_refused_by_name(name):
    with pytest.raises(ConfigError, match="no such device here") as refusal:
        select_device(name)
    assert name in str(refusal.value)


def test_precision_follows_the_device_unless_told():
    cpu = torch.device("cpu")
    assert [uses_bfloat16(choice, cpu) for choice in ("auto", "fp32", "bf16")] == [False, False, True]


def test_arrays_and_tensors_keep_their_values_and_kind():
    for values in (np.arange(3), np.ones((2, 1), np.float32), np.array([True, False])):
        sent = send_to_device(values, torch.device("cpu"))
        assert sent.numpy().dtype == values.dtype
        assert np.array_equal(sent.numpy(), values)
    tensor = torch.arange(2)
    assert send_to_device(tensor, torch.device("cpu")) is tensor


@pytest.mark.parametrize(
    ("device", "in_hardware", "used"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)]
)
def test_auto_takes_bfloat16_of_a_gpu_that_has_it_in_hardware(monkeypatch, device, in_hardware, used):
    """Every GPU emulates it, which is slower than float32."""
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: in_hardware or including_emulation
    )
    assert uses_bfloat16("auto", torch.device(device)) is used
    assert uses_bfloat16("bf16", torch.device(device))
    assert not uses_bfloat16("fp32", torch.device(device))
