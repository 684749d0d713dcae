"""Decodes files in a pool of sandboxed processes and replaces those that die or hang."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from numpy.typing import NDArray

from medprior.dicom import Policy
from medprior.dicom.bounded_reader import send_with_files
from medprior.dicom.file_opening import GIVEN_FILES
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
from medprior.workers.messages import MessageError, receive_message
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
    """One process and its current source.

    Attributes:
        process: the process.
        index: of its source.
        since: monotonic time in seconds at which the source was sent.
        ready: whether the process has started.
    """

    process: SandboxedProcess
    index: int | None = None
    since: float = math.inf
    ready: bool = False


class DecodingPool:
    """A pool of sandboxed decoding processes. A context manager.

    Args:
        count: number of processes.
        policy: acceptance criteria for radiographs.
        store_size: longest side of returned images in pixels.
        limits: resource limits of a process for one file.
    """

    def __init__(self, count: int, policy: Policy, store_size: int, limits: ProcessLimits) -> None:
        self._decoder_args = (policy, store_size)
        self._limits = limits
        self._count = count
        self._workers: list[DecodingProcess] = []
        self._failed_starts = 0

    def __enter__(self) -> DecodingPool:
        self._workers = [DecodingProcess(self._start()) for _ in range(self._count)]
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.end()

    def map(self, sources: Sequence[ImageSource]) -> Iterator[DecodedImage | RejectedFile]:
        """Decode all sources; results come in the order of `sources`.

        Raises:
            MedpriorError: processes do not start.
        """
        results: dict[int, DecodedImage | RejectedFile] = {}
        next_index = 0
        for index in range(len(sources)):
            while index not in results:
                limit = min(len(sources), index + SOURCES_PER_WORKER * self._count)
                for worker in self._workers:
                    if worker.index is None and next_index < limit:
                        self._assign(worker, next_index, sources[next_index])
                        next_index += 1
                results |= self._collect(sources)
            yield results.pop(index)

    def _start(self) -> SandboxedProcess:
        while True:
            try:
                return SandboxedProcess(build_decoder_message_handler, self._decoder_args, self._limits, POOL_PRELOAD)
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

    def _assign(self, worker: DecodingProcess, index: int, source: ImageSource) -> None:
        if worker.ready and not worker.process.is_alive:
            # The process died while idle, so no file caused it.
            self._replace(worker)
        worker.index = index
        if worker.ready:
            self._send(worker, source)

    def _send(self, worker: DecodingProcess, source: ImageSource) -> None:
        worker.since = time.monotonic()
        paths = [source.file_path, *(mask.path for mask in source.masks)]
        try:
            fields, deadline = serialize_source(source), self._deadline(worker)
            send_with_files(worker.process.channel, fields, paths, self._decoder_args[0], deadline)
        except MessageError:
            # `_receive_result` then reports the failure for this file.
            return

    def _deadline(self, worker: DecodingProcess) -> float:
        if not worker.ready:
            return worker.process.started_at + self._limits.start_seconds
        return worker.since + self._limits.wall_seconds

    def _collect(self, sources: Sequence[ImageSource]) -> dict[int, DecodedImage | RejectedFile]:
        """Results of workers that are finished, dead or overdue; waits up to one second for one."""
        busy = [worker for worker in self._workers if worker.index is not None]
        ready = wait([worker.process.channel for worker in busy], timeout=1.0)
        results: dict[int, DecodedImage | RejectedFile] = {}
        for worker in busy:
            index, overdue = worker.index, time.monotonic() > self._deadline(worker)
            if index is None or not (overdue or worker.process.channel in ready):
                continue
            if not worker.ready:
                self._confirm_start(worker, sources[index])
                continue
            results[index] = self._receive_result(worker)
            worker.index = None
        return results

    def _confirm_start(self, worker: DecodingProcess, source: ImageSource) -> None:
        """Send the source to a worker that has started; replace a worker that has not."""
        try:
            receive_message(worker.process.channel, self._deadline(worker))
        except MessageError:
            self._count_failed_start()
            self._replace(worker)
            return
        worker.ready, self._failed_starts = True, 0
        self._send(worker, source)

    def _receive_result(self, worker: DecodingProcess) -> DecodedImage | RejectedFile:
        """The worker's result, or its failure; a failed worker is replaced."""
        try:
            return deserialize_result(*receive_message(worker.process.channel, self._deadline(worker)))
        except MessageError as error:
            code = "timeout" if error.timed_out else worker.process.end_and_get_reject_code()
            self._replace(worker)
            return WORKER_FAILURES[code]


def build_decoder_message_handler(policy: Policy, store_size: int) -> MessageHandler:
    """The message handler of a decoding process."""
    from medprior.dicom.burned_in_text import load_text_detector
    from medprior.dicom.decoding.decoders import open_scratch_file

    open_scratch_file(os.getpid())
    if policy.detect_text:
        load_text_detector()

    def decode_message(fields: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Decode one source."""
        GIVEN_FILES.replace(fields["files"], fields.get("descriptors", ()))
        return serialize_result(decode_source(deserialize_source(fields), policy, store_size))

    return decode_message
