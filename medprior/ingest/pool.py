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
from medprior.ingest.decoding import (
    DecodedImage,
    RejectedFile,
    decode_source,
    deserialize_result,
    deserialize_source,
    serialize_result,
    serialize_source,
)
from medprior.ingest.plan import ImageSource
from medprior.workers.messages import MessageError, receive_message, send_message
from medprior.workers.sandbox import (
    PRELOADED_LIBRARIES,
    Message,
    MessageHandler,
    ProcessLimits,
    ProcessStartError,
    SandboxedProcess,
)

__all__ = ["DecodingPool", "ProcessLimits"]

SOURCES_PER_WORKER = 8
MAX_FAILED_STARTS = 3
POOL_PRELOAD = ("medprior.ingest.pool", "medprior.ingest.masks", *PRELOADED_LIBRARIES)
WORKER_FAILURES = {
    "timeout": RejectedFile("timeout", "the file took longer than allowed"),
    "worker_died": RejectedFile("worker_died", "the decoder crashed on this file"),
}


@dataclass
class DecodingProcess:
    """One process and what it is busy with.

    Attributes:
        process: the process.
        index: of the source it was given.
        since: when it was given it, or when it began to start.
        ready: whether it has started.
    """

    process: SandboxedProcess
    index: int | None = None
    since: float = math.inf
    ready: bool = False


class DecodingPool:
    """A pool of bounded workers. Use it as a context manager.

    Args:
        count: processes.
        policy: what counts as a usable radiograph.
        store_size: longest side of the pictures handed back.
        limits: what each process may use for one file.
    """

    def __init__(self, count: int, policy: Policy, store_size: int, limits: ProcessLimits) -> None:
        self._job = (policy, store_size)
        self._limits = limits
        self._count = count
        self._all: list[DecodingProcess] = []
        self._failed_starts = 0

    def __enter__(self) -> DecodingPool:
        self._all = [DecodingProcess(self._start()) for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._all:
            worker.process.end()

    def map(self, sources: Sequence[ImageSource]) -> Iterator[DecodedImage | RejectedFile]:
        """Read all sources; answers come in the order of `sources`.

        Raises:
            MedpriorError: processes do not start.
        """
        answers: dict[int, DecodedImage | RejectedFile] = {}
        following = 0
        for done in range(len(sources)):
            while done not in answers:
                reach = min(len(sources), done + SOURCES_PER_WORKER * self._count)
                for worker in self._all:
                    if worker.index is None and following < reach:
                        self._give(worker, following, sources[following])
                        following += 1
                answers |= self._collect(sources)
            yield answers.pop(done)

    def _start(self) -> SandboxedProcess:
        while True:
            try:
                return SandboxedProcess(build_decoder, self._job, self._limits, POOL_PRELOAD)
            except ProcessStartError:
                self._count_failed_start()

    def _count_failed_start(self) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise MedpriorError(
                "decoding processes do not start",
                where="ingest",
                fix="see `medprior doctor`; a busy or full machine may need more time",
            )

    def _replace(self, worker: DecodingProcess) -> None:
        worker.process.end()
        worker.process, worker.ready = self._start(), False

    def _give(self, worker: DecodingProcess, index: int, source: ImageSource) -> None:
        if worker.ready and not worker.process.is_alive:
            # It died while idle: no file is to blame.
            self._replace(worker)
        worker.index = index
        if worker.ready:
            self._send(worker, source)

    def _send(self, worker: DecodingProcess, source: ImageSource) -> None:
        worker.since = time.monotonic()
        try:
            send_message(worker.process.channel, serialize_source(source), (), self._deadline(worker))
        except MessageError:
            # The answer is then read as its death, on this file.
            return

    def _deadline(self, worker: DecodingProcess) -> float:
        if not worker.ready:
            return worker.process.started_at + self._limits.start_seconds
        return worker.since + self._limits.wall_seconds

    def _collect(self, sources: Sequence[ImageSource]) -> dict[int, DecodedImage | RejectedFile]:
        """Answers of workers that are done, dead or overdue; waits for at least one of them."""
        busy = [worker for worker in self._all if worker.index is not None]
        ready = wait([worker.process.channel for worker in busy], timeout=1.0)
        answers: dict[int, DecodedImage | RejectedFile] = {}
        for worker in busy:
            index, overdue = worker.index, time.monotonic() > self._deadline(worker)
            if index is None or not (overdue or worker.process.channel in ready):
                continue
            if not worker.ready:
                self._confirm_start(worker, sources[index])
                continue
            answers[index] = self._answer(worker)
            worker.index = None
        return answers

    def _confirm_start(self, worker: DecodingProcess, source: ImageSource) -> None:
        """Give a worker that has started its source; start another where it has not."""
        try:
            receive_message(worker.process.channel, self._deadline(worker))
        except MessageError:
            self._count_failed_start()
            self._replace(worker)
            return
        worker.ready, self._failed_starts = True, 0
        self._send(worker, source)

    def _answer(self, worker: DecodingProcess) -> DecodedImage | RejectedFile:
        """An answer, or how the worker ended; it is then replaced."""
        try:
            return deserialize_result(*receive_message(worker.process.channel, self._deadline(worker)))
        except MessageError as error:
            code = "timeout" if error.timed_out else worker.process.end_and_get_code()
            self._replace(worker)
            return WORKER_FAILURES[code]


def build_decoder(policy: Policy, store_size: int) -> MessageHandler:
    """In the process: a source becomes an item."""

    def answer(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Read one source."""
        return serialize_result(decode_source(deserialize_source(facts), policy, store_size))

    return answer
