"""`BoundedReader`: read untrusted files from any thread; one that crashes or hangs costs itself."""

from __future__ import annotations

import io
import os
import queue
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy, Radiograph, read_image
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
)

__all__ = ["BoundedReader", "ProcessLimits"]

PRELOADED_MODULES = ("medprior.dicom.bounded_reader", *PRELOADED_LIBRARIES)
FAILURE_TEXTS = {
    "timeout": "the file took longer than allowed",
    "worker_died": "the decoder crashed on this file",
}


class BoundedReader:
    """Reads radiographs in processes of their own, under limits; safe to share between threads.

    A process starts when it is first needed, serves one file after another, and is replaced when it
    crashes, hangs, or takes too long. Processes hold nothing of the caller and do not import torch.
    Up to `workers` reads run at once; more wait for their turn. A fork of the caller gets processes
    of its own.

    ```python
    with BoundedReader(workers=2) as reader:
        radiograph = reader.read(Path("image.dcm"))
    ```

    Args:
        workers: processes, at least 1.
        policy: what counts as a usable radiograph.
        limits: what a process may use for one file.
    """

    def __init__(self, workers: int = 1, policy: Policy | None = None, limits: ProcessLimits | None = None) -> None:
        self._policy, self._limits = policy or Policy(), limits or ProcessLimits()
        self._idle: queue.LifoQueue[SandboxedProcess | None] = queue.LifoQueue()
        self._lock, self._closed, self._count = threading.Lock(), False, max(1, workers)
        for _ in range(self._count):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, source: Path | str | bytes) -> Radiograph:
        """Read one DICOM, PNG or JPEG radiograph, as `medprior.dicom.read_image` does.

        Args:
            source: a regular file, or a file's content.

        Returns:
            The radiograph, raw identifiers included; `pixels` float32 [rows, cols] in [0, 1].

        Raises:
            Rejected: the file is refused: any code of `read_image`; `memory` or `timeout`, it
                needs more than the limits; `worker_died`, its decoder crashed; `internal`, a bug.
                The reader goes on with the next file.
            ValueError: the reader is closed.
        """
        confined = self._idle.get()
        if self._closed:
            self._idle.put(confined)
            raise ValueError("the reader is closed")
        kept: SandboxedProcess | None = None
        try:
            confined = self._running(confined)
            facts, arrays = self._exchange(confined, source)
            kept = confined
        finally:
            if kept is None and confined is not None:
                confined.end()
            self._return_process(kept)
        if "code" in facts:
            raise Rejected(facts["code"], facts["what"], fix=facts["fix"])
        pixels = arrays[0]
        valid = arrays[1] if len(arrays) > 1 else np.ones(pixels.shape, dtype=bool)
        return restore_radiograph(facts, pixels, valid)

    def close(self) -> None:
        """End all processes; reads that still run end with theirs. May be called twice."""
        with self._lock:
            self._closed = True
            idle = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
            for confined in idle:
                if confined is not None:
                    confined.end()
                self._idle.put(None)

    def _return_process(self, kept: SandboxedProcess | None) -> None:
        """Make room for the next read; a reader that was closed meanwhile keeps no process."""
        with self._lock:
            if self._closed and kept is not None:
                kept.end()
            self._idle.put(None if self._closed else kept)

    def _running(self, confined: SandboxedProcess | None) -> SandboxedProcess:
        """The process itself if it lives, else a new one that is ready; a second try is made."""
        if confined is not None and confined.alive:
            return confined
        if confined is not None:
            confined.end()
        for _ in range(2):
            try:
                fresh = SandboxedProcess(create_read_handler, (self._policy,), self._limits, PRELOADED_MODULES)
            except ProcessStartError:
                continue
            try:
                receive_message(fresh.channel, fresh.begun + self._limits.start_seconds)
            except MessageError:
                fresh.end()
                continue
            except BaseException:
                fresh.end()
                raise
            return fresh
        raise Rejected("timeout", "the decoding process does not start", fix="medprior doctor")

    def _exchange(
        self, confined: SandboxedProcess, source: Path | str | bytes
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            if isinstance(source, (str, os.PathLike)):
                send_message(confined.channel, {"path": str(Path(source).absolute())}, (), deadline)
            else:
                content = np.frombuffer(source, dtype=np.uint8)
                send_message(confined.channel, {"path": None}, (content,), deadline)
            return receive_message(confined.channel, deadline)
        except MessageError as error:
            code = "timeout" if error.late else confined.cause()
            raise Rejected(code, FAILURE_TEXTS[code]) from None


def create_read_handler(policy: Policy) -> MessageHandler:
    """In the process: a path or a file's content becomes a radiograph's facts and arrays."""

    def answer(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Read one; every fault of the file becomes a code."""
        try:
            path: str | None = facts["path"]
            source = Path(path) if path is not None else io.BytesIO(arrays[0].tobytes())
            arrays.clear()
            found = read_image(source, policy)
        except Rejected as error:
            return {"code": error.code, "what": error.what, "fix": error.fix}, []
        except MemoryError:
            what = "the file needs more memory than a worker may use"
            return {"code": "memory", "what": what, "fix": ""}, []
        except Exception as error:
            # A bug of ours must not end the process either; only the kind of error is kept.
            what = f"unforeseen {type(error).__name__}"
            return {"code": "internal", "what": what, "fix": ""}, []
        parts: list[NDArray[Any]] = [found.pixels]
        return dump_metadata(found), parts if found.valid.all() else [*parts, found.valid]

    return answer
