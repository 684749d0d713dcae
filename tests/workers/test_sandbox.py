"""Limited processes: their messages, their limits and how they end."""

import os
import signal
import time

import numpy as np
import pytest

from medprior.workers.messages import MessageError, receive_message, send_message
from medprior.workers.sandbox import (
    READY_MESSAGE,
    ProcessLimits,
    ProcessStartError,
    SandboxedProcess,
    get_fork_server,
    read_total_size,
)
from tests.workers.handlers import build_echo, build_misbehaviour

PRELOAD = ("tests.workers.handlers", "medprior.workers.sandbox")
LIMITS = ProcessLimits(memory_mb=100, cpu_seconds=0.2, wall_seconds=20)


def start_process(build_handler, *arguments):
    """A process that has said that it is ready."""
    process = SandboxedProcess(build_handler, arguments, LIMITS, PRELOAD)
    assert receive_message(process.channel, time.monotonic() + 60) == (READY_MESSAGE, [])
    return process


def ask(process, facts, arrays=()):
    deadline = time.monotonic() + 20
    send_message(process.channel, facts, arrays, deadline)
    return receive_message(process.channel, deadline)


def test_a_process_answers_one_message_after_another_until_it_is_ended(capfd):
    process = start_process(build_echo, "hello")
    for number in (3, 4):
        facts, arrays = ask(process, {"n": number}, [np.float32([number])])
        assert facts == {"greeting": "hello", "facts": {"n": number}, "pid": process.pid}
        assert arrays[0].tolist() == [2 * number]
    assert process.pid != os.getpid()
    assert process.is_alive
    process.end()
    process.end()
    assert not process.is_alive
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert capfd.readouterr() == ("", "")


def test_memory_beyond_the_limit_is_not_given():
    process = start_process(build_misbehaviour)
    assert ask(process, {"megabytes": 40})[0] == {"taken": 40}
    assert ask(process, {"megabytes": 150})[0] == {"taken": 0}
    assert process.is_alive
    process.end()


def test_processor_time_is_for_one_message_and_grows_with_its_size():
    process = start_process(build_misbehaviour)
    for _ in range(3):
        assert ask(process, {"seconds": 0.1})[0] == {"done": True}
    # Another 0.3 s for three million bytes, at 10 MB a second.
    assert ask(process, {"seconds": 0.3}, [np.zeros(3_000_000, np.uint8)])[0] == {"done": True}
    with pytest.raises(MessageError):
        ask(process, {"seconds": 0.3})
    assert process.end_and_get_reject_code() == "timeout"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_process_that_dies_otherwise_has_crashed(name):
    process = start_process(build_misbehaviour)
    with pytest.raises(MessageError) as caught:
        ask(process, {"signal": name})
    assert not caught.value.timed_out
    assert process.end_and_get_reject_code() == "worker_died"


def test_a_process_that_does_not_start_in_time_is_an_error():
    preload = (*PRELOAD, "json")
    server = get_fork_server(os.getpid(), preload)
    server.ensure_running()
    os.kill(server._forkserver_pid, signal.SIGSTOP)
    try:
        with pytest.raises(ProcessStartError):
            SandboxedProcess(build_echo, ("hello",), ProcessLimits(start_seconds=0.1), preload)
    finally:
        os.kill(server._forkserver_pid, signal.SIGCONT)


def test_every_owner_and_list_of_modules_has_its_own_server():
    assert get_fork_server(1, ("a",)) is get_fork_server(1, ("a",))
    assert get_fork_server(1, ("a",)) is not get_fork_server(2, ("a",))
    assert get_fork_server(1, ("a",)) is not get_fork_server(1, ("b",))


def test_the_size_of_open_files_is_their_sum(tmp_path):
    (tmp_path / "one").write_bytes(bytes(700))
    (tmp_path / "two").write_bytes(bytes(11))
    with open(tmp_path / "one", "rb") as one, open(tmp_path / "two", "rb") as two:
        assert read_total_size([one.fileno(), two.fileno()]) == 711
    assert read_total_size([]) == 0
