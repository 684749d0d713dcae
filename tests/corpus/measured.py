"""What one read costs: the worker's largest memory, wall and processor time."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from medprior.dicom import Radiograph
from medprior.dicom.bounded_reader import BoundedReader
from medprior.errors import Rejected
from medprior.workers.sandbox import ProcessLimits
from tests.corpus.case import dicom

TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """An outcome and its cost.

    Attributes:
        outcome: the picture or the refusal.
        seconds: by the clock.
        processor_seconds: of the worker.
        peak_bytes: the worker's largest resident memory.
    """

    outcome: Radiograph | Rejected | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_bytes: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


def measured(content: bytes, limits: ProcessLimits) -> Measured:
    """Read `content` in a fresh worker."""
    result = Measured()
    with BoundedReader(limits=limits) as reader:
        reader.read(dicom())
        pid = next(process.pid for process in reader._idle.queue if process)
        before = processor_seconds(pid)
        watcher = threading.Thread(target=watch, args=(pid, result, before))
        watcher.start()
        start = time.monotonic()
        try:
            result.outcome = reader.read(content)
        except Rejected as error:
            result.outcome = error
        result.seconds = time.monotonic() - start
        result.stop.set()
        watcher.join()
        look(pid, result, before)
    return result


def watch(pid: int, result: Measured, before: float) -> None:
    """Look at the worker until told to stop."""
    while not result.stop.wait(0.02):
        look(pid, result, before)


def look(pid: int, result: Measured, before: float) -> None:
    """Take the worker's memory and time, if it still lives."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        peak = next((line.split()[1] for line in lines if line.startswith("VmHWM")), "0")
        result.peak_bytes = max(result.peak_bytes, int(peak) * 1024)
        result.processor_seconds = max(result.processor_seconds, processor_seconds(pid) - before)
    except OSError:
        return


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
