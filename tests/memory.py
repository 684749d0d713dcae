"""Memory of a process, for tests that run code in a process of its own."""

from pathlib import Path


def read_peak_kib() -> int:
    """Most memory that this process ever held, KiB; `ru_maxrss` would start at that of the process that started it."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
