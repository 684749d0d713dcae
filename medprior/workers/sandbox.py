"""A process of its own for untrusted files: clean, silent, limited, and easy to end."""

from __future__ import annotations

import ctypes
import io
import logging
import multiprocessing
import os
import resource
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
from multiprocessing.forkserver import ForkServer, read_signed
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medprior.workers.messages import MessageError, receive_message, send_message

READY_MESSAGE = {"ready": True}
# Large libraries: a process that decodes imports them before it counts its time and memory.
PRELOADED_LIBRARIES = (
    "medprior.dicom.raster", "scipy.sparse", "SimpleITK", "gdcm", "openjpeg", "jpeg_ls", "rle",
)  # fmt: skip
# Numbers of malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
RETAINED_BYTES = 2**26
MIN_BYTES_PER_SECOND = 10_000_000
Message = tuple[dict[str, Any], list[NDArray[Any]]]
MessageHandler = Callable[[dict[str, Any], list[NDArray[Any]]], Message]


@dataclass(frozen=True)
class ProcessLimits:
    """What a decoding process may use.

    Attributes:
        memory_mb: address space beyond what it has at its start.
        cpu_seconds: processor time that one file may take, and one more second for each 10 MB.
        wall_seconds: time after which a silent process is ended.
        start_seconds: time after which a process that has not begun to work is ended.
    """

    memory_mb: int = 800
    cpu_seconds: float = 4.0
    wall_seconds: float = 120.0
    start_seconds: float = 60.0


class ProcessStartError(Exception):
    """A process did not start in time."""


class SandboxedProcess:
    """One such process. It ends when its owner closes it, forgets it or ends.

    It is forked from a server process that has imported `preload` and nothing of the caller: no
    thread or memory of the caller is in it, and the caller's main script is not run again in it,
    so scripts need no `if __name__ == "__main__"`.

    Args:
        work: makes the function that answers messages; an importable function, called in the
            process with `given`.
        given: its arguments; small and picklable.
        limits: what the process may use.
        preload: modules to import once, for all processes.

    Attributes:
        channel: socket to it; see `medprior.workers.messages`.
        pid: of the process.
        begun: `time.monotonic` of its start.

    Raises:
        StartError: the process did not start in time.
    """

    def __init__(
        self,
        work: Callable[..., MessageHandler],
        given: tuple[object, ...],
        limits: ProcessLimits,
        preload: tuple[str, ...] = (),
    ) -> None:
        self.begun = time.monotonic()
        self.channel, theirs = socket.socketpair()
        try:
            task = multiprocessing.get_context("forkserver").Process(
                target=answer_messages, args=(theirs, work, given, limits), daemon=True
            )
            self._popen = SandboxPopen(task, limits.start_seconds, preload)
        except BaseException:
            self.channel.close()
            raise
        finally:
            theirs.close()
        self.pid: int = self._popen.pid
        self._owner = os.getpid()
        self._finish = weakref.finalize(self, kill_process, self._popen, self.channel, self._owner)

    @property
    def alive(self) -> bool:
        """Whether the process still runs, and is ours: a fork of its owner has no claim to it."""
        return self._owner == os.getpid() and self._popen.poll() is None

    def end(self) -> None:
        """Kill the process and wait for its end."""
        self._finish()

    def cause(self) -> str:
        """End it; `timeout` where it ended for its processor time, else `worker_died`."""
        self._popen.wait(timeout=1.0)
        ended = self._popen.returncode
        self.end()
        return "timeout" if ended == -signal.SIGPROF else "worker_died"


class SandboxPopen(popen_forkserver.Popen):
    """Starts a process from our own server, without the caller's main module, within a time."""

    def __init__(self, task: Any, seconds: float, preload: tuple[str, ...]) -> None:
        self._seconds, self._preload = seconds, preload
        self.inherited_fds: list[int] = []
        super().__init__(task)

    def duplicate_for_child(self, fd: int) -> int:
        """The place at which the process will find a descriptor of ours."""
        self.inherited_fds.append(fd)
        return len(self.inherited_fds) - 1

    def _launch(self, process_obj: Any) -> None:
        # Without the keys that would run the caller's main module again.
        known = {"name": process_obj.name, "sys_path": [path or str(Path()) for path in sys.path]}
        buffer = io.BytesIO()
        set_spawning_popen(self)
        try:
            reduction.dump(known, buffer)
            reduction.dump(process_obj, buffer)
        finally:
            set_spawning_popen(None)
        server = get_fork_server(os.getpid(), self._preload)
        self.sentinel, outlet = server.connect_to_new_process(self.inherited_fds)
        self.finalizer = Finalize(self, close_descriptors, (os.dup(outlet), self.sentinel))
        with open(outlet, "wb") as file:
            file.write(buffer.getbuffer())
        if not wait([self.sentinel], self._seconds):
            self.finalizer()
            raise ProcessStartError
        self.pid = read_signed(self.sentinel)


@lru_cache(maxsize=8)
def get_fork_server(owner: int, preload: tuple[str, ...]) -> ForkServer:
    """The server of process `owner`; a fork of that process needs one of its own."""
    server = ForkServer()
    server.set_forkserver_preload(list(preload))
    return server


def start_fork_server(preload: tuple[str, ...]) -> None:
    """Have this process's server begin its imports now; returns at once."""
    get_fork_server(os.getpid(), preload).ensure_running()


def close_descriptors(one: int, other: int) -> None:
    """Close two descriptors."""
    os.close(one)
    os.close(other)


def kill_process(popen: SandboxPopen, channel: socket.socket, owner: int) -> None:
    """Kill a process and free what belongs to it; a fork of its owner only lets go of it."""
    channel.close()
    if owner != os.getpid():
        return
    popen.kill()
    popen.wait(timeout=5.0)
    popen.close()


def answer_messages(
    channel: socket.socket,
    work: Callable[..., MessageHandler],
    given: tuple[object, ...],
    limits: ProcessLimits,
) -> None:
    """Run in the process: answer messages until the channel closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_output()
    retain_freed_memory()
    answer = work(*given)
    limit_memory(limits.memory_mb)
    try:
        send_message(channel, READY_MESSAGE)
        while True:
            facts, arrays = receive_message(channel)
            size = sum(array.nbytes for array in arrays) + file_size_bytes(facts.get("path"))
            # The kernel ends the process when the file has used up its processor time.
            signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds + size / MIN_BYTES_PER_SECOND)
            facts, arrays = answer(facts, arrays)
            signal.setitimer(signal.ITIMER_PROF, 0)
            send_message(channel, facts, arrays)
            del arrays
    except MessageError:
        return


def file_size_bytes(path: str | None) -> int:
    """Bytes of a file; 0 where it cannot be told."""
    try:
        return os.lstat(path).st_size if path else 0
    except (OSError, ValueError):
        return 0


def silence_output() -> None:
    """Send what codecs print and parsers log nowhere: it may quote the file."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def retain_freed_memory() -> None:
    """Keep up to 64 MiB of freed memory for the next file, where the C library is glibc.

    What goes back to the kernel comes again page by page, zeroed: 10 % of the time of reading.
    glibc comes to these two values by itself once it has freed a block of 32 MiB.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, RETAINED_BYTES // 2)
        library.mallopt(TRIM_THRESHOLD, RETAINED_BYTES)


def limit_memory(megabytes: int) -> None:
    """Limit the address space to what is in use now plus `megabytes`; no core dumps."""
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
