"""A pool of decoding processes: one that dies or hangs costs one file, and is replaced."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from numpy.typing import NDArray

from medprior.dicom import Policy
from medprior.errors import MedpriorError
from medprior.ingest.item import (
    Item,
    Refused,
    answer_message,
    answer_of,
    read_item,
    source_message,
    source_of,
)
from medprior.ingest.plan import Source
from medprior.workers.messages import WireError, receive, send
from medprior.workers.sandbox import (
    LIBRARIES,
    Confined,
    Limits,
    Message,
    StartError,
    Work,
)

__all__ = ["Limits", "Workers"]

AHEAD = 8
MOST_STARTS = 3
PRELOAD = ("medprior.ingest.pool", "medprior.ingest.masks", *LIBRARIES)
ENDED = {
    "timeout": Refused("timeout", "the file took longer than allowed"),
    "worker_died": Refused("worker_died", "the decoder crashed on this file"),
}


@dataclass
class Worker:
    """One process and what it is busy with.

    Attributes:
        process: the process.
        index: of the source it was given.
        since: when it was given it, or when it began to start.
        ready: whether it has started.
    """

    process: Confined
    index: int | None = None
    since: float = math.inf
    ready: bool = False


class Workers:
    """A pool of bounded workers. Use it as a context manager.

    Args:
        count: processes.
        policy: what counts as a usable radiograph.
        store_size: longest side of the pictures handed back.
        limits: what each process may use for one file.
    """

    def __init__(self, count: int, policy: Policy, store_size: int, limits: Limits) -> None:
        self._job = (policy, store_size)
        self._limits = limits
        self._count = count
        self._all: list[Worker] = []
        self._failed_starts = 0

    def __enter__(self) -> Workers:
        self._all = [Worker(self._start()) for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.process.end()

    def map(self, sources: Sequence[Source]) -> Iterator[Item | Refused]:
        """Read all sources; answers come in the order of `sources`.

        Raises:
            MedpriorError: processes do not start.
        """
        answers: dict[int, Item | Refused] = {}
        following = 0
        for done in range(len(sources)):
            while done not in answers:
                reach = min(len(sources), done + AHEAD * self._count)
                for worker in self._all:
                    if worker.index is None and following < reach:
                        self._give(worker, following, sources[following])
                        following += 1
                answers |= self._collect(sources)
            yield answers.pop(done)

    def _start(self) -> Confined:
        while True:
            try:
                return Confined(reading, self._job, self._limits, PRELOAD)
            except StartError:
                self._count_failed_start()

    def _count_failed_start(self) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MOST_STARTS:
            raise MedpriorError(
                "decoding processes do not start",
                where="ingest",
                fix="see `medprior doctor`; a busy or full machine may need more time",
            )

    def _replace(self, worker: Worker) -> None:
        worker.process.end()
        worker.process, worker.ready = self._start(), False

    def _give(self, worker: Worker, index: int, source: Source) -> None:
        if worker.ready and not worker.process.alive:
            # It died while idle: no file is to blame.
            self._replace(worker)
        worker.index = index
        if worker.ready:
            self._send(worker, source)

    def _send(self, worker: Worker, source: Source) -> None:
        worker.since = time.monotonic()
        try:
            send(worker.process.channel, source_message(source), (), self._deadline(worker))
        except WireError:
            # The answer is then read as its death, on this file.
            return

    def _deadline(self, worker: Worker) -> float:
        if not worker.ready:
            return worker.process.begun + self._limits.start_seconds
        return worker.since + self._limits.wall_seconds

    def _collect(self, sources: Sequence[Source]) -> dict[int, Item | Refused]:
        """Answers of workers that are done, dead or overdue; waits for at least one of them."""
        busy = [worker for worker in self._all if worker.index is not None]
        ready = wait([worker.process.channel for worker in busy], timeout=1.0)
        answers: dict[int, Item | Refused] = {}
        for worker in busy:
            index, overdue = worker.index, time.monotonic() > self._deadline(worker)
            if index is None or not (overdue or worker.process.channel in ready):
                continue
            if not worker.ready:
                self._greet(worker, sources[index])
                continue
            answers[index] = self._answer(worker)
            worker.index = None
        return answers

    def _greet(self, worker: Worker, source: Source) -> None:
        """Give a worker that has started its source; start another where it has not."""
        try:
            receive(worker.process.channel, self._deadline(worker))
        except WireError:
            self._count_failed_start()
            self._replace(worker)
            return
        worker.ready, self._failed_starts = True, 0
        self._send(worker, source)

    def _answer(self, worker: Worker) -> Item | Refused:
        """An answer, or how the worker ended; it is then replaced."""
        try:
            return answer_of(*receive(worker.process.channel, self._deadline(worker)))
        except WireError as error:
            code = "timeout" if error.late else worker.process.cause()
            self._replace(worker)
            return ENDED[code]


def reading(policy: Policy, store_size: int) -> Work:
    """In the process: a source becomes an item."""

    def answer(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Read one source."""
        return answer_message(read_item(source_of(facts), policy, store_size))

    return answer
