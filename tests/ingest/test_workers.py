"""Workers that crash, hang, are stopped or run out of memory: each costs one file."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from medprior.dicom import Policy
from medprior.dicom.samples import compressed, sample_bytes, sample_dataset, sample_picture
from medprior.ingest.item import Item, Refused
from medprior.ingest.plan import Source
from medprior.ingest.workers import Limits, Workers

EASY = Limits(memory_mb=800, cpu_seconds=20, wall_seconds=60)


def write(folder, name, rows=96, cols=80, syntax=None):
    rng = np.random.default_rng(0)
    stored = sample_picture(rows, cols)
    stored = np.clip(stored + rng.integers(-40, 40, stored.shape), 0, 4095).astype("u2")
    dataset = sample_dataset(stored)
    path = folder / name
    path.write_bytes(sample_bytes(compressed(dataset, syntax) if syntax else dataset))
    return Source(str(path), name, name, None, ())


def codes(answers):
    return [a.code if isinstance(a, Refused) else "" for a in answers]


def test_answers_come_in_order(tmp_path):
    shapes = [(96 + i, 80) for i in range(12)]
    found = [write(tmp_path, f"{i}", *shape) for i, shape in enumerate(shapes)]
    with Workers(2, Policy(), 512, EASY) as workers:
        answers = list(workers.map(found))
    assert [a.size for a in answers if isinstance(a, Item)] == shapes


def test_a_killed_worker_costs_one_file(tmp_path):
    slow = write(tmp_path, "slow", 3000, 3000, "1.2.840.10008.1.2.4.90")
    found = [slow, *(write(tmp_path, f"{i}") for i in range(3))]
    with Workers(1, Policy(), 64, EASY) as workers:
        # The first file takes a second: the worker is ended in its middle.
        list(workers.map(found[1:]))
        victim = workers._all[0].process
        threading.Timer(0.15, lambda: os.kill(victim.pid, signal.SIGSEGV)).start()
        assert codes(workers.map(found)) == ["worker_died", "", "", ""]


def test_a_stopped_worker_is_replaced(tmp_path):
    found = [write(tmp_path, f"{i}") for i in range(3)]
    with Workers(1, Policy(), 64, Limits(800, 20, 8.0)) as workers:
        list(workers.map(found))
        os.kill(workers._all[0].process.pid, signal.SIGSTOP)
        start = time.monotonic()
        assert codes(workers.map(found)) == ["timeout", "", ""]
        assert time.monotonic() - start < 40


def test_processor_time_is_bounded(tmp_path):
    slow = write(tmp_path, "slow", 3000, 3000, "1.2.840.10008.1.2.4.90")
    with Workers(1, Policy(), 64, Limits(2000, 0.1, 60)) as workers:
        assert codes(workers.map([slow, write(tmp_path, "b")])) == ["timeout", ""]


def test_memory_is_bounded(tmp_path):
    big = write(tmp_path, "big", 4000, 4000)
    with Workers(1, Policy(), 64, Limits(100, 20, 60)) as workers:
        answers = codes(workers.map([big, write(tmp_path, "b")]))
    assert answers == ["memory", ""]


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_dies_idle_is_replaced(tmp_path, index):
    found = [write(tmp_path, f"{i}") for i in range(4)]
    with Workers(2, Policy(), 64, EASY) as workers:
        list(workers.map(found))
        os.kill(workers._all[index].process.pid, signal.SIGKILL)
        workers._all[index].process.join()
        assert sorted(codes(workers.map(found))) == ["", "", "", "worker_died"]
