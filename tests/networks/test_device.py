import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks.device import select_device


def test_a_named_device_is_taken_as_it_is():
    assert select_device("cpu") == torch.device("cpu")


def test_auto_takes_cuda_where_there_is_one():
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", ""])
def test_what_is_not_here_is_refused_by_name(name):
    with pytest.raises(ConfigError, match="no such device here") as refusal:
        select_device(name)
    assert name in str(refusal.value)
