"""Tasks on a real Dask cluster in this process: order, number of pending tasks, and how runs stop."""

import distributed
import pytest

import medprior
from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.workers import dask_cluster
from medprior.workers.dask_cluster import (
    DaskCluster,
    check_scheduler_security,
    check_worker_version,
    scheduler_unreachable_error,
)
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message


class PluginOfWorkers(distributed.WorkerPlugin):
    """A plugin that does nothing but be there."""


class PlainCluster(DaskCluster):
    """A client whose tasks need nothing from their worker."""

    def _plugin(self):
        return PluginOfWorkers()


def answer_twice_the_number(name, message):
    """Double the number of a message; `name` is that of the worker's plugin."""
    assert name in distributed.get_worker().plugins
    return pack_message({"n": 2 * unpack_message(message)[0]["n"]}, [])


def ask_to_stop(name, message):
    return pack_message({"stop": "a worker does not see the input"}, [])


def fail_with_a_secret(name, message):
    raise RuntimeError("CANARY")


@pytest.fixture(scope="module")
def address():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp", host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def client(address):
    with PlainCluster(address) as connected:
        yield connected


def list_messages(count):
    return [pack_message({"n": number}, []) for number in range(count)]


def test_results_come_in_the_order_of_their_messages(client):
    futures = client._submit_tasks(answer_twice_the_number, list_messages(40))
    assert [client._receive_result(future)[0]["n"] for future in futures] == [2 * number for number in range(40)]


def test_only_a_few_tasks_are_taken_from_the_messages_ahead_of_their_results(client, monkeypatch):
    monkeypatch.setattr(dask_cluster, "MIN_PENDING_TASKS", 3)
    monkeypatch.setattr(dask_cluster, "TASKS_PER_THREAD", 1)
    taken = []

    def take_messages():
        for message in list_messages(9):
            taken.append(message)
            yield message

    futures = client._submit_tasks(answer_twice_the_number, take_messages())
    first = next(futures)
    assert len(taken) == 3
    next(futures)
    assert len(taken) == 4
    assert client._receive_result(first)[0] == {"n": 0}


def test_pending_tasks_are_some_for_every_thread(client, monkeypatch):
    monkeypatch.setattr(client, "_threads_checked_at", float("-inf"))
    assert client._max_pending_tasks() == 16
    monkeypatch.setattr(dask_cluster, "TASKS_PER_THREAD", 9)
    assert client._max_pending_tasks() == 18


def test_equal_messages_are_two_tasks(client):
    message = list_messages(1)[0]
    one, other = (client._submit_task(answer_twice_the_number, message) for _ in range(2))
    assert one.key != other.key


def test_a_task_that_asks_to_stop_ends_the_run_with_its_reason(client):
    with pytest.raises(MedpriorError, match="does not see the input"):
        client._receive_result(client._submit_task(ask_to_stop, SecretBytes(b"")))


def test_a_failing_task_is_named_by_the_type_of_its_error_only(client):
    with pytest.raises(MedpriorError, match="RuntimeError") as caught:
        client._receive_result(client._submit_task(fail_with_a_secret, SecretBytes(b"")))
    assert "CANARY" not in str(caught.value)


def test_the_plugin_leaves_with_its_client(address):
    with PlainCluster(address) as other:
        name = other._name
        assert unpack_message(other._submit_task(answer_twice_the_number, list_messages(2)[1]).result())[0] == {"n": 2}
    with distributed.Client(address, set_as_default=False) as observer:
        names = observer.run(lambda dask_worker: list(dask_worker.plugins))
    assert all(name not in plugins for plugins in names.values())


def test_the_same_version_is_accepted_and_another_one_refused():
    check_worker_version(medprior.__version__)
    with pytest.raises(MedpriorError, match="another version") as caught:
        check_worker_version("0.0.0")
    assert (caught.value.expected, caught.value.found) == ("0.0.0", medprior.__version__)


def test_an_unreachable_scheduler_is_a_missing_input_without_the_errors_text():
    error = scheduler_unreachable_error(OSError("CANARY"))
    assert isinstance(error, InputMissing)
    assert "OSError" in str(error)
    assert "CANARY" not in str(error)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://cluster:1", "ucx://cluster:1", "ws://cluster:1"])
def test_a_scheduler_without_tls_is_refused_unless_accepted(address):
    with pytest.raises(ConfigError, match="runs code as you"):
        check_scheduler_security(address, insecure=False)
    check_scheduler_security(address, insecure=True)


@pytest.mark.parametrize("address", [None, "tls://cluster:1"])
def test_tls_and_no_scheduler_need_no_consent(address):
    check_scheduler_security(address, insecure=False)
