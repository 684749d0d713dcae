"""Decoding processes under limits: one that dies or hangs costs one file, and is replaced."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from medprior.dicom import Policy
from medprior.ingest.item import Item, Refused, read_item
from medprior.ingest.plan import Source

AHEAD = 8
READY = "ready"
BYTES_PER_SECOND = 10_000_000
DEAD = Refused("worker_died", "the decoder crashed on this file")
SLOW = Refused("timeout", "the file took longer than allowed")


@dataclass(frozen=True)
class Limits:
    """What a worker may use; see `IngestSettings`."""

    memory_mb: int
    cpu_seconds: float
    wall_seconds: float


@dataclass
class Worker:
    """One process and what it is busy with."""

    process: ForkServerProcess
    connection: Connection
    index: int | None = None
    since: float = math.inf


def serve(connection: Connection, policy: Policy, store_size: int, limits: Limits) -> None:
    """Run in the worker: read sources from the pipe, send back items, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence()
    cap_memory(limits.memory_mb)
    connection.send(READY)
    while True:
        try:
            source = connection.recv()
        except (EOFError, OSError):
            return
        # The kernel ends the process when the file has used up its processor time.
        signal.setitimer(
            signal.ITIMER_PROF, limits.cpu_seconds + size_of(source) / BYTES_PER_SECOND
        )
        answer = read_item(source, policy, store_size)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.send(answer)


def size_of(source: Source) -> int:
    """Bytes of a source; 0 where it cannot be told."""
    try:
        return os.lstat(source.path).st_size
    except OSError:
        return 0


def silence() -> None:
    """Send what codecs print nowhere: it may quote the file."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def cap_memory(megabytes: int) -> None:
    """Limit the address space to what is in use now plus `megabytes`."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)


class Workers:
    """A pool of bounded workers. Use it as a context manager.

    Args:
        count: processes.
        policy: what counts as a usable radiograph.
        store_size: longest side of the pictures handed back.
        limits: what each process may use for one file.
    """

    def __init__(self, count: int, policy: Policy, store_size: int, limits: Limits) -> None:
        # A clean server process imports the decoders once and forks workers from itself: a fresh
        # worker costs milliseconds, and no thread of the caller is ever forked.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["medprior.ingest.workers"])
        self._job = (policy, store_size, limits)
        self._limits = limits
        self._count = count
        self._all: list[Worker] = []

    def __enter__(self) -> Workers:
        self._all = [self._start() for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            self._end(worker)

    def _start(self) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, *self._job), daemon=True)
        process.start()
        theirs.close()
        return Worker(process, ours)

    def _end(self, worker: Worker) -> None:
        worker.connection.close()
        worker.process.kill()
        worker.process.join()

    def map(self, sources: Sequence[Source]) -> Iterator[Item | Refused]:
        """Read all sources; answers come in the order of `sources`."""
        answers: dict[int, Item | Refused] = {}
        following = 0
        for done in range(len(sources)):
            while done not in answers:
                reach = min(len(sources), done + AHEAD * self._count)
                for worker in self._all:
                    if worker.index is None and following < reach:
                        self._give(worker, following, sources[following])
                        following += 1
                answers |= self._collect()
            yield answers.pop(done)

    def _give(self, worker: Worker, index: int, source: Source) -> None:
        worker.index = index
        if worker.since != math.inf:
            worker.since = time.monotonic()
        try:
            worker.connection.send(source)
        except OSError:
            # It died while idle: the answer is read as its death, on this file.
            return

    def _collect(self) -> dict[int, Item | Refused]:
        """Answers of workers that are done, dead or overdue; waits for at least one of them."""
        busy = [worker for worker in self._all if worker.index is not None]
        ready = wait([worker.connection for worker in busy], timeout=1.0)
        answers: dict[int, Item | Refused] = {}
        for worker in busy:
            index = worker.index
            if index is None:
                continue
            if worker.connection in ready:
                answer = self._answer(worker)
                if answer is not None:
                    answers[index] = answer
            elif time.monotonic() - worker.since > self._limits.wall_seconds:
                answers[index] = SLOW
                self._replace(worker)
            worker.index = None if index in answers else index
        return answers

    def _answer(self, worker: Worker) -> Item | Refused | None:
        """An answer; None where the worker only says that it has started, its time begins then."""
        try:
            answer: Item | Refused | str = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            ended = worker.process.exitcode
            self._replace(worker)
            return SLOW if ended == -signal.SIGPROF else DEAD
        if isinstance(answer, str):
            worker.since = time.monotonic()
            return None
        return answer

    def _replace(self, worker: Worker) -> None:
        self._end(worker)
        fresh = self._start()
        worker.process, worker.connection, worker.since = fresh.process, fresh.connection, math.inf
