"""A process that waits for requests, over a real socket."""

import os
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from medprior.errors import MedpriorError
from medprior.workers.request_process import RequestProcess


@pytest.fixture
def process():
    with closing(RequestProcess("tests.workers.waiting_process", ["good morning"], "waiting", seconds=60)) as started:
        yield started


def collect(process, arrays=(), **facts):
    """All answers to a request."""
    answers = []
    process.request(facts, lambda *answer: answers.append(answer), arrays)
    return answers


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_request_has_any_number_of_answers(process):
    answers = collect(process, [np.arange(3, dtype=np.uint8)], do="count", to=3)
    assert [facts["number"] for facts, _ in answers] == [0, 1, 2]
    assert {facts["greeting"] for facts, _ in answers} == {"good morning"}
    np.testing.assert_array_equal(answers[2][1][0], [0, 2, 4])
    assert collect(process, do="count", to=0) == []


def test_answers_come_as_they_are_made(process):
    times = []
    process.request({"do": "count", "to": 3, "pause": 0.4}, lambda *_: times.append(time.monotonic()))
    assert times[1] - times[0] > 0.3
    assert times[2] - times[1] > 0.3


def test_errors_are_told_without_what_may_be_secret_and_the_process_goes_on(process):
    pid = collect(process, do="count", to=1)[0][0]["pid"]
    with pytest.raises(MedpriorError, match=r"^waiting: arrays: too few; send more$"):
        collect(process, do="refuse")
    with pytest.raises(MedpriorError, match=r"^waiting: no radiograph$"):
        collect(process, do="reject")
    with pytest.raises(MedpriorError, match=r"^waiting: an unforeseen error \(ValueError\)$"):
        collect(process, do="fail")
    assert collect(process, do="count", to=1)[0][0]["pid"] == pid


def test_a_process_that_ended_is_started_again(process):
    pid = collect(process, do="count", to=1)[0][0]["pid"]
    with pytest.raises(MedpriorError, match="its process ended"):
        collect(process, do="exit")
    assert collect(process, do="count", to=1)[0][0]["pid"] not in {pid, os.getpid()}


def test_a_receiver_that_fails_leaves_no_answers_behind(process):
    def break_down(facts, arrays):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        process.request({"do": "count", "to": 5}, break_down)
    assert [facts["number"] for facts, _ in collect(process, do="count", to=2)] == [0, 1]


def test_a_request_that_takes_too_long_is_ended():
    with (
        closing(RequestProcess("tests.workers.waiting_process", ["hello"], "waiting", seconds=3)) as process,
        pytest.raises(MedpriorError, match="longer than 3 s"),
    ):
        collect(process, do="count", to=2, pause=20)


def test_requests_of_several_threads_do_not_mix(process):
    answers = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.update({n: collect(process, do="count", to=n)}))
        for n in range(1, 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {n: len(received) for n, received in answers.items()} == {n: n for n in range(1, 6)}


def test_closing_ends_the_process_and_those_that_it_started(process):
    own = collect(process, do="count", to=1)[0][0]["pid"]
    child = collect(process, do="start")[0][0]["pid"]
    assert is_running(own)
    assert is_running(child)
    process.close()
    end = time.monotonic() + 10
    while (is_running(own) or is_running(child)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(own)
    assert not is_running(child)
    process.close()
