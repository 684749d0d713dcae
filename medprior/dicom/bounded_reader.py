"""Reads untrusted files in limited processes, from any thread: `BoundedReader`."""

from __future__ import annotations

import io
import os
import queue
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy, Radiograph
from medprior.dicom.file_opening import GIVEN_FILES, open_files
from medprior.dicom.radiograph import dump_metadata, restore_radiograph
from medprior.errors import Rejected
from medprior.workers.messages import MessageError, receive_message, send_message
from medprior.workers.sandbox import (
    PRELOADED_LIBRARIES,
    Message,
    MessageHandler,
    ProcessLimits,
    ProcessStartError,
    SandboxedProcess,
    start_ready_process,
)

__all__ = ["BoundedReader", "ProcessLimits"]

PRELOADED_MODULES = ("medprior.dicom.bounded_reader", *PRELOADED_LIBRARIES)
START_FIX = "run `medprior doctor`; a busy machine may need more time"
FAILURE_TEXTS = {"timeout": "the file took longer than allowed", "worker_died": "the decoder crashed on this file"}


class BoundedReader:
    """Reads radiographs in separate processes under limits; safe to share between threads.

    A process starts when it is first needed, reads one file after another, and is replaced when it
    crashes, hangs or takes too long. Processes inherit no memory of the caller and do not import
    torch. Up to `workers` reads run at once; more wait for a free process. A fork of the caller
    starts its own processes.

    ```python
    with BoundedReader(workers=2) as reader:
        radiograph = reader.read(Path("image.dcm"))
    ```

    Args:
        workers: number of processes, at least 1.
        policy: which files are usable radiographs.
        limits: resources of a process for one file.
    """

    def __init__(self, workers: int = 1, policy: Policy | None = None, limits: ProcessLimits | None = None) -> None:
        self._policy, self._limits = policy or Policy(), limits or ProcessLimits()
        self._idle: queue.LifoQueue[SandboxedProcess | None] = queue.LifoQueue()
        self._lock, self._closed, self._count = threading.Lock(), False, max(1, workers)
        for _ in range(self._count):
            self._idle.put(None)

    def __reduce__(self) -> tuple[type[Self], tuple[int, Policy, ProcessLimits]]:
        """A copy, such as that of a worker of a data loader, has processes of its own."""
        return type(self), (self._count, self._policy, self._limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, source: Path | str | bytes) -> Radiograph:
        """Read one DICOM, PNG, JPEG, TIFF or BMP radiograph, as `medprior.dicom.read_image` does.

        Args:
            source: path of a regular file, or the bytes of a file.

        Returns:
            The radiograph, raw identifiers included; `pixels` float32 [rows, cols] in [0, 1].

        Raises:
            Rejected: the file is refused: any code of `read_image`; `memory` or `timeout`, it
                needs more than the limits; `worker_died`, its decoder crashed; `internal`, a bug.
                The reader remains usable.
            ValueError: the reader is closed.
        """
        process = self._idle.get()
        if self._closed:
            self._idle.put(process)
            raise ValueError("the reader is closed")
        usable: SandboxedProcess | None = None
        try:
            process = self._ensure_running(process)
            facts, arrays = self._exchange(process, source)
            usable = process
        finally:
            if usable is None and process is not None:
                process.end()
            self._return_process(usable)
        if "code" in facts:
            raise Rejected(facts["code"], facts["what"], fix=facts["fix"])
        pixels = arrays[0]
        valid = arrays[1] if len(arrays) > 1 else np.ones(pixels.shape, dtype=bool)
        return restore_radiograph(facts, pixels, valid)

    def close(self) -> None:
        """End all idle processes, and each busy one after its read. May be called twice."""
        with self._lock:
            self._closed = True
            idle = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
            for process in idle:
                if process is not None:
                    process.end()
                self._idle.put(None)

    def _return_process(self, process: SandboxedProcess | None) -> None:
        """Free a place for the next read; a reader that was closed meanwhile keeps no process."""
        with self._lock:
            if self._closed and process is not None:
                process.end()
            self._idle.put(None if self._closed else process)

    def _ensure_running(self, process: SandboxedProcess | None) -> SandboxedProcess:
        """Return the process if it is alive, else a new one that is ready; start it at most twice."""
        if process is not None and process.is_alive:
            return process
        if process is not None:
            process.end()
        try:
            return start_ready_process(build_reader_message_handler, (self._policy,), self._limits, PRELOADED_MODULES)
        except ProcessStartError:
            raise Rejected("timeout", "the decoding process does not start", fix=START_FIX) from None

    def _exchange(
        self, process: SandboxedProcess, source: Path | str | bytes
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            if isinstance(source, (str, os.PathLike)):
                path = str(Path(source).absolute())
                send_with_files(process.channel, {"path": path}, [path], self._policy, deadline)
            else:
                content = np.frombuffer(source, dtype=np.uint8)
                send_message(process.channel, {"path": None}, (content,), deadline)
            return receive_message(process.channel, deadline)
        except MessageError as error:
            code = "timeout" if error.timed_out else process.end_and_get_reject_code()
            raise Rejected(code, FAILURE_TEXTS[code]) from None


def send_with_files(
    channel: socket.socket, facts: dict[str, Any], paths: Sequence[str], policy: Policy, deadline: float
) -> None:
    """Send a message with files that a confined process may not open; its `GIVEN_FILES` take them.

    Raises:
        MessageError: it cannot be sent in time.
    """
    with open_files(paths, policy) as (answers, descriptors):
        send_message(channel, facts | {"files": answers}, (), deadline, descriptors)


def build_reader_message_handler(policy: Policy) -> MessageHandler:
    """Create, in the process, the handler that reads an open file or a file's bytes as metadata and arrays."""
    from medprior.dicom import read_image
    from medprior.dicom.burned_in_text import load_text_detector
    from medprior.dicom.decoding.decoders import open_scratch_file

    open_scratch_file(os.getpid())
    if policy.detect_text:
        load_text_detector()

    def answer(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Read one file; every error becomes a code."""
        try:
            path: str | None = facts["path"]
            GIVEN_FILES.replace(facts.get("files", ()), facts.get("descriptors", ()))
            source = Path(path) if path is not None else io.BytesIO(arrays[0].tobytes())
            arrays.clear()
            radiograph = read_image(source, policy)
        except Rejected as error:
            return {"code": error.code, "what": error.what, "fix": error.fix}, []
        except MemoryError:
            what = "the file needs more memory than a worker may use"
            return {"code": "memory", "what": what, "fix": ""}, []
        except Exception as error:
            # A bug in medprior must not end the process either; only the type of the error is kept.
            what = f"unforeseen {type(error).__name__}"
            return {"code": "internal", "what": what, "fix": ""}, []
        if radiograph.valid.all():
            return dump_metadata(radiograph), [radiograph.pixels]
        return dump_metadata(radiograph), [radiograph.pixels, radiograph.valid]

    return answer
