"""Runs code on untrusted files in a confined process with limits on memory and time.

The process gets open files, not paths; see `medprior.workers.confinement` for what it cannot do.

`SandboxPopen` uses internals of multiprocessing: with its documented API `Process.start` runs the caller's main
script again in the child, shares one global server, waits without limit and is refused in a daemon process.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import socket
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import popen_forkserver, reduction
from multiprocessing.connection import wait
from multiprocessing.context import set_spawning_popen
from multiprocessing.forkserver import read_signed
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medprior.workers.confinement import (
    CleanForkServer,
    close_other_descriptors,
    confine_process,
    retain_freed_memory,
)
from medprior.workers.messages import MessageError, receive_message, send_message

READY_MESSAGE = {"ready": True}
# Large libraries: a decoding process imports them before its time and memory are limited.
PRELOADED_LIBRARIES = (
    "medprior.dicom.raster", "scipy.sparse", "SimpleITK", "gdcm", "openjpeg", "jpeg_ls", "rle",
)  # fmt: skip
MIN_BYTES_PER_SECOND = 10_000_000
Message = tuple[dict[str, Any], list[NDArray[Any]]]
MessageHandler = Callable[[dict[str, Any], list[NDArray[Any]]], Message]


@dataclass(frozen=True)
class ProcessLimits:
    """Resources that a decoding process may use.

    Attributes:
        memory_mb: address space in MiB beyond that in use when the limit is set.
        cpu_seconds: processor time for one file, plus one second for each 10 MB of the file.
        wall_seconds: time after which a process that does not answer is ended.
        start_seconds: time after which a process that is not ready is ended.
    """

    memory_mb: int = 800
    cpu_seconds: float = 4.0
    wall_seconds: float = 120.0
    start_seconds: float = 60.0


class ProcessStartError(Exception):
    """A process did not start in time."""


class SandboxedProcess:
    """One limited process. It ends when its owner closes it, drops the last reference to it or ends.

    It is forked from a server process that has imported only `preload`: it inherits no thread and no
    memory of the caller and does not run the caller's main script, so scripts need no
    `if __name__ == "__main__"`.

    Args:
        build_handler: builds the function that answers messages; an importable function, called in
            the process with `arguments`.
        arguments: arguments of `build_handler`; small and picklable.
        limits: resources that the process may use.
        preload: modules that the server imports once for all processes.

    Attributes:
        channel: socket to the process; see `medprior.workers.messages`.
        pid: process id.
        started_at: `time.monotonic` of its start.

    Raises:
        ProcessStartError: the process did not start in time.
    """

    def __init__(
        self,
        build_handler: Callable[..., MessageHandler],
        arguments: tuple[object, ...],
        limits: ProcessLimits,
        preload: tuple[str, ...] = (),
    ) -> None:
        self.started_at = time.monotonic()
        self.channel, child_channel = socket.socketpair()
        try:
            task = multiprocessing.get_context("forkserver").Process(
                target=answer_messages, args=(child_channel, build_handler, arguments, limits), daemon=True
            )
            self._popen = SandboxPopen(task, limits.start_seconds, preload)
        except BaseException:
            self.channel.close()
            raise
        finally:
            child_channel.close()
        self.pid: int = self._popen.pid
        self._owner = os.getpid()
        self._finish = weakref.finalize(self, kill_process, self._popen, self.channel, self._owner)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs and belongs to this process; in a fork of its owner it does not."""
        return self._owner == os.getpid() and self._popen.poll() is None

    def end(self) -> None:
        """Kill the process and wait for its end."""
        self._finish()

    def end_and_get_reject_code(self) -> str:
        """End the process; return `timeout` if it had used up its processor time, else `worker_died`."""
        self._popen.wait(timeout=1.0)
        exit_code = self._popen.returncode
        self.end()
        return "timeout" if exit_code == -signal.SIGPROF else "worker_died"


def start_ready_process(
    build_handler: Callable[..., MessageHandler],
    arguments: tuple[object, ...],
    limits: ProcessLimits,
    preload: tuple[str, ...] = (),
) -> SandboxedProcess:
    """Start a process and wait until it takes messages; a start that fails is tried once more.

    Its arguments are those of `SandboxedProcess`.

    Raises:
        ProcessStartError: it did not start in time, twice.
    """
    for _ in range(2):
        try:
            process = SandboxedProcess(build_handler, arguments, limits, preload)
        except ProcessStartError:
            continue
        try:
            receive_message(process.channel, process.started_at + limits.start_seconds)
        except MessageError:
            process.end()
            continue
        except BaseException:
            process.end()
            raise
        return process
    raise ProcessStartError


class SandboxPopen(popen_forkserver.Popen):
    """Starts a process from its own fork server, without the caller's main module, within a time limit."""

    def __init__(self, task: Any, seconds: float, preload: tuple[str, ...]) -> None:
        self._seconds, self._preload = seconds, preload
        self.inherited_fds: list[int] = []
        super().__init__(task)

    def duplicate_for_child(self, fd: int) -> int:
        """Index at which the child finds a descriptor of this process."""
        self.inherited_fds.append(fd)
        return len(self.inherited_fds) - 1

    def _launch(self, process_obj: Any) -> None:
        # Without the keys that would run the caller's main module again.
        preparation = {"name": process_obj.name, "sys_path": [path or str(Path()) for path in sys.path]}
        buffer = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(preparation, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            set_spawning_popen(None)
        server = get_fork_server(os.getpid(), self._preload)
        self.sentinel, child_pipe = server.connect_to_new_process(self.inherited_fds)
        self.finalizer = Finalize(self, close_descriptors, (os.dup(child_pipe), self.sentinel))
        with open(child_pipe, "wb") as file:
            file.write(buffer.getbuffer())
        if not wait([self.sentinel], self._seconds):
            self.finalizer()
            raise ProcessStartError
        self.pid = read_signed(self.sentinel)


@lru_cache(maxsize=8)
def get_fork_server(owner: int, preload: tuple[str, ...]) -> CleanForkServer:
    """Get the fork server of process `owner`; a fork of that process needs another one."""
    server = CleanForkServer()
    server.set_forkserver_preload(list(preload))
    return server


def start_fork_server(preload: tuple[str, ...]) -> None:
    """Start the fork server of this process and its imports; returns at once."""
    get_fork_server(os.getpid(), preload).ensure_running()


def close_descriptors(first: int, second: int) -> None:
    """Close two descriptors."""
    os.close(first)
    os.close(second)


def kill_process(popen: SandboxPopen, channel: socket.socket, owner: int) -> None:
    """Kill a process and free its resources; in a fork of its owner, only close the channel."""
    channel.close()
    if owner != os.getpid():
        return
    kill_process_group(popen)
    popen.wait(timeout=5.0)
    popen.close()


def kill_process_group(popen: SandboxPopen) -> None:
    """Kill a process and what it started, also where the process itself has ended."""
    try:
        if popen.poll() is not None:
            # The number of a process that has ended may belong to another one by now.
            os.kill(popen.pid, 0)
            return
    except PermissionError:
        return
    except ProcessLookupError:
        pass
    try:
        os.killpg(popen.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # It has no group of its own yet, or nothing is left of it.
        popen.kill()


def answer_messages(
    channel: socket.socket,
    build_handler: Callable[..., MessageHandler],
    arguments: tuple[object, ...],
    limits: ProcessLimits,
) -> None:
    """Answer messages in the confined process until the channel closes.

    A handler finds the open files of a message in its facts, under `descriptors`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A group of its own: whatever it starts ends with it.
    os.setsid()
    close_other_descriptors(channel.fileno())
    retain_freed_memory()
    handle = build_handler(*arguments)
    confine_process(limits.memory_mb)
    try:
        send_message(channel, READY_MESSAGE)
        while True:
            descriptors: list[int] = []
            facts, arrays = receive_message(channel, descriptors=descriptors)
            if descriptors:
                facts["descriptors"] = descriptors
            size = sum(array.nbytes for array in arrays) + read_total_size(descriptors)
            # The kernel ends the process when this file has used up its processor time.
            signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds + size / MIN_BYTES_PER_SECOND)
            facts, arrays = handle(facts, arrays)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send_message(channel, facts, arrays)
            del arrays
            for descriptor in descriptors:
                os.close(descriptor)
    except MessageError:
        return


def read_total_size(descriptors: list[int]) -> int:
    """Total size of open files in bytes."""
    return sum(os.fstat(descriptor).st_size for descriptor in descriptors)
