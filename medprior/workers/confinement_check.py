"""Tries in a confined process what it must not be able to do: `check_confinement`."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from medprior.workers.confinement import LOADER_VARIABLES, SINGLE_THREAD_VARIABLES
from medprior.workers.messages import receive_message, send_message
from medprior.workers.sandbox import Message, MessageHandler, ProcessLimits, start_ready_process

ANSWER_SECONDS = 60.0


def check_confinement() -> dict[str, bool]:
    """Start a confined process that tries each forbidden act, and say which of the barriers hold here.

    Returns:
        Barrier -> whether it holds.

    Raises:
        ProcessStartError: the process did not start.
        MessageError: the process ended.
    """
    modules = ("medprior.workers.confinement_check",)
    process = start_ready_process(build_forbidden_attempts, (), ProcessLimits(), modules)
    try:
        deadline = time.monotonic() + ANSWER_SECONDS
        with tempfile.NamedTemporaryFile() as planted:
            send_message(process.channel, {"planted": planted.name, "owner": os.getpid()}, (), deadline)
            facts, _ = receive_message(process.channel, deadline)
    finally:
        process.end()
    return {str(barrier): bool(holds) for barrier, holds in facts.items()}


def build_forbidden_attempts() -> MessageHandler:
    """Create, in the process, the handler that tries everything and reports what was refused."""

    def answer(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Try each forbidden act once."""
        planted, owner = str(facts["planted"]), int(facts["owner"])
        return {
            "reads no file by its path (Landlock)": is_refused(lambda: open_and_close(planted, os.O_RDONLY)),
            "writes no file": is_refused(lambda: open_and_close(planted, os.O_WRONLY)),
            "opens no socket (seccomp)": is_refused(lambda: socket.socket().close()),
            "starts no process (seccomp)": is_refused(start_child),
            "signals no other process": is_refused(lambda: os.kill(owner, 0)),
            "sees no variable of your environment": set(os.environ) <= {*LOADER_VARIABLES, *SINGLE_THREAD_VARIABLES},
        }, []

    return answer


def is_refused(attempt: Callable[[], None]) -> bool:
    """Whether the kernel refuses an attempt."""
    try:
        attempt()
    except OSError:
        return True
    return False


def open_and_close(path: str, flags: int) -> None:
    """Open a file."""
    os.close(os.open(path, flags))


def start_child() -> None:
    """Start a process that ends at once."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
