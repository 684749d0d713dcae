"""Workers that crash, hang, are stopped or run out of memory: each costs one file."""

import os
import signal
import socket
import time
from dataclasses import replace

import numpy as np
import pytest

from medprior.dicom import Policy
from medprior.dicom.decoding.samples import (
    compress_dataset,
    create_sample_dataset,
    create_sample_picture,
    serialise_dataset,
)
from medprior.dicom.radiograph import dump_metadata
from medprior.errors import MedpriorError
from medprior.ingest.decoding import DecodedImage, RejectedFile
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import POOL_PRELOAD, DecodingPool, ProcessLimits
from medprior.workers.sandbox import get_fork_server
from tests.busy_processes import signal_when_busy

EASY = ProcessLimits(memory_mb=800, cpu_seconds=20, wall_seconds=60)


def write(folder, name, rows=96, cols=80, syntax=None):
    rng = np.random.default_rng(0)
    stored = create_sample_picture(rows, cols)
    stored = np.clip(stored + rng.integers(-40, 40, stored.shape), 0, 4095).astype("u2")
    dataset = create_sample_dataset(stored)
    path = folder / name
    path.write_bytes(serialise_dataset(compress_dataset(dataset, syntax) if syntax else dataset))
    return ImageSource(str(path), name, name, None, ())


def codes(answers):
    return [a.code if isinstance(a, RejectedFile) else "" for a in answers]


def test_answers_come_in_order(tmp_path):
    shapes = [(96 + i, 80) for i in range(12)]
    sources = [write(tmp_path, f"{i}", *shape) for i, shape in enumerate(shapes)]
    with DecodingPool(2, Policy(), 512, EASY) as workers:
        answers = list(workers.map(sources))
    assert [a.size for a in answers if isinstance(a, DecodedImage)] == shapes


def test_a_killed_worker_costs_one_file(tmp_path):
    slow = write(tmp_path, "slow", 3000, 3000, "1.2.840.10008.1.2.4.90")
    sources = [slow, *(write(tmp_path, f"{i}") for i in range(3))]
    with DecodingPool(1, Policy(), 64, EASY) as workers:
        # The first file takes much longer than a tenth of a second: the worker is ended in its middle.
        list(workers.map(sources[1:]))
        victim = workers._workers[0].process
        with signal_when_busy(victim.pid, signal.SIGSEGV):
            assert codes(workers.map(sources)) == ["worker_died", "", "", ""]


def test_a_stopped_worker_is_replaced(tmp_path):
    sources = [write(tmp_path, f"{i}") for i in range(3)]
    with DecodingPool(1, Policy(), 64, ProcessLimits(800, 20, 8.0)) as workers:
        list(workers.map(sources))
        os.kill(workers._workers[0].process.pid, signal.SIGSTOP)
        start = time.monotonic()
        assert codes(workers.map(sources)) == ["timeout", "", ""]
        assert time.monotonic() - start < 40


def test_processor_time_is_bounded(tmp_path):
    slow = write(tmp_path, "slow", 3000, 3000, "1.2.840.10008.1.2.4.90")
    with DecodingPool(1, Policy(), 64, ProcessLimits(2000, 0.1, 60)) as workers:
        assert codes(workers.map([slow, write(tmp_path, "b")])) == ["timeout", ""]


def test_memory_is_bounded(tmp_path):
    big = write(tmp_path, "big", 4000, 4000)
    with DecodingPool(1, Policy(), 64, ProcessLimits(100, 20, 60)) as workers:
        answers = codes(workers.map([big, write(tmp_path, "b")]))
    assert answers == ["memory", ""]


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_dies_idle_is_replaced(tmp_path, index):
    sources = [write(tmp_path, f"{i}") for i in range(4)]
    with DecodingPool(2, Policy(), 64, EASY) as workers:
        list(workers.map(sources))
        os.kill(workers._workers[index].process.pid, signal.SIGKILL)
        workers._workers[index].process._popen.wait(timeout=300)
        assert codes(workers.map(sources)) == ["", "", "", ""]


def test_a_worker_that_hangs_at_its_start_is_replaced(tmp_path):
    sources = [write(tmp_path, f"{i}") for i in range(2)]
    with DecodingPool(1, Policy(), 64, ProcessLimits(800, 20, 60, start_seconds=3)) as workers:
        worker = workers._workers[0]
        while not worker.process.channel.recv(1, socket.MSG_PEEK):
            pass
        # It is stopped, and what it said on starting is taken away.
        os.kill(worker.process.pid, signal.SIGSTOP)
        worker.process.channel.recv(4096)
        start = time.monotonic()
        assert codes(workers.map(sources)) == ["", ""]
        assert time.monotonic() - start < 30


def test_workers_that_never_start_end_the_run():
    with DecodingPool(1, Policy(), 64, EASY):
        server = get_fork_server(os.getpid(), POOL_PRELOAD)._forkserver_pid
    os.kill(server, signal.SIGSTOP)
    start = time.monotonic()
    try:
        with (
            pytest.raises(MedpriorError, match="do not start"),
            DecodingPool(1, Policy(), 64, ProcessLimits(800, 20, 60, start_seconds=0.2)),
        ):
            pass
    finally:
        os.kill(server, signal.SIGCONT)
    assert time.monotonic() - start < 20


def test_masks_and_facts_survive_the_way_back(tmp_path):
    from PIL import Image

    from medprior.ingest.decoding import decode_source
    from medprior.ingest.descriptor import MaskRule
    from medprior.ingest.plan import MaskFile

    source = write(tmp_path, "a")
    mask = np.zeros((96, 80), "u1")
    mask[20:50, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    rule = MaskRule(match="^(?P<id>.*)$", bits={255: "heart"})
    source = replace(source, masks=(MaskFile(str(tmp_path / "m.png"), "", rule),))
    with DecodingPool(1, Policy(), 64, EASY) as workers:
        (far,) = workers.map([source])
    near = decode_source(source, Policy(), 64)
    np.testing.assert_array_equal(far.stored, near.stored)
    np.testing.assert_array_equal(far.masks["heart"], near.masks["heart"])
    assert near.masks["heart"].any()
    assert (far.size, far.identity, far.valid) == (near.size, near.identity, near.valid)
    assert dump_metadata(far.metadata) == dump_metadata(near.metadata)
