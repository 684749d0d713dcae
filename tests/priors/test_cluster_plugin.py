"""The worker's side of a cluster, without a cluster; `test_cluster.py` runs the whole."""

import numpy as np
import pytest

import medprior
from medprior.errors import MedpriorError
from medprior.priors import cluster_plugin
from medprior.priors.registration import Example
from medprior.priors.settings import PriorSettings
from medprior.priors.transfer import LabelTransfer
from medprior.workers.secret_bytes import pack_message, unpack_message


@pytest.fixture
def transfer(drawing):
    """A transfer that only compares pictures."""
    settings = PriorSettings.from_values({"size": 32, "registration": {"size": 64}})
    return LabelTransfer((Example(drawing.square(64), drawing.coverage(64)),), "static", settings, drawing.structures)


def started(transfer):
    plugin = cluster_plugin.TransferPlugin(transfer)
    plugin.setup(None)
    return plugin


def test_a_worker_answers_as_the_transfer_itself(thoraxes, transfer):
    pictures = np.asarray(thoraxes.squares(64), np.float32)[:2]
    facts, arrays = unpack_message(started(transfer).transfer(pack_message({}, [pictures])))
    maps, records = transfer(pictures)
    np.testing.assert_array_equal(arrays[0], maps)
    assert facts["records"] == records


def test_a_worker_of_another_version_refuses(thoraxes, transfer, monkeypatch):
    plugin = started(transfer)
    monkeypatch.setattr(medprior, "__version__", "0.0.0")
    with pytest.raises(MedpriorError, match="version"):
        plugin.transfer(pack_message({}, [np.asarray(thoraxes.squares(64), np.float32)[:1]]))


def test_a_task_never_raises_and_tells_nothing_of_its_pictures():
    """Outside a worker there is no plugin: the answer names the kind of error alone."""
    answer, arrays = unpack_message(cluster_plugin.run_transfer_task("unknown", pack_message({"secret": "name"}, [])))
    assert answer == {"stop": "unforeseen ValueError in a worker"}
    assert not arrays
