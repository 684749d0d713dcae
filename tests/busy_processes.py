"""Signals to a process once it works, however fast the machine is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def read_cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, in seconds; infinite once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def signal_when_busy(pid: int, number: int, seconds: float = 0.1) -> Iterator[None]:
    """Send a signal to an idle process once the block has made it use `seconds` of processor time."""
    begun, ended, sent = read_cpu_seconds(pid), threading.Event(), threading.Event()

    def wait_and_send() -> None:
        while not ended.is_set() and read_cpu_seconds(pid) < begun + seconds:
            time.sleep(0.005)
        if not ended.is_set():
            os.kill(pid, number)
            sent.set()

    thread = threading.Thread(target=wait_and_send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert sent.is_set(), "the process ended its work before it could be signalled"
