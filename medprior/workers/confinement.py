"""Confines a process that reads untrusted files: its files, system calls, limits, output and environment."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import subprocess
import threading
from collections.abc import Sequence
from multiprocessing import util
from multiprocessing.forkserver import ForkServer
from typing import Any

from medprior.workers.file_access import list_library_folders, restrict_file_access
from medprior.workers.system_call_filter import filter_system_calls

# Constants of linux/prctl.h and malloc.h.
PR_SET_NO_NEW_PRIVS = 38
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
RETAINED_BYTES = 2**26
MAX_OPEN_FILES = 256
# What Python and the loader need to find modules and libraries; nothing else of the caller's environment.
LOADER_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")
SINGLE_THREAD_VARIABLES = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
START_LOCK = threading.Lock()


def confine_process(megabytes: int) -> None:
    """Confine this process for good, apart from its open descriptors.

    It can open no file but libraries (Landlock) and start no process, open no socket and write no file
    (seccomp). Where the kernel lacks one of them the rest holds; `medprior doctor` tells.

    Args:
        megabytes: address space beyond that in use, and size of a file that may be written, in MiB.
    """
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    limit_resources(megabytes)
    restrict_file_access(list_library_folders())
    filter_system_calls()


def limit_resources(megabytes: int) -> None:
    """Limit the address space to what is in use now plus `megabytes`, files, descriptors and processes; no core dumps.

    The limit on processes does not bind root; it also refuses threads to other users.
    """
    with open("/proc/self/statm", "rb") as file:
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    lower_limit(resource.RLIMIT_AS, used_bytes + megabytes * 2**20)
    lower_limit(resource.RLIMIT_FSIZE, megabytes * 2**20)
    lower_limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    lower_limit(resource.RLIMIT_NPROC, 0)
    lower_limit(resource.RLIMIT_CORE, 0)


def lower_limit(kind: int, value: int) -> None:
    """Lower both values of a resource limit to `value`; a lower limit stays."""
    highest = resource.getrlimit(kind)[1]
    limit = value if highest == resource.RLIM_INFINITY else min(value, highest)
    resource.setrlimit(kind, (limit, limit))


def close_other_descriptors(kept: int) -> None:
    """Close every descriptor but `kept`; discard what codecs print and parsers log, since it may quote the file."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    null_device = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null_device, stream)
    os.closerange(3, kept)
    os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def retain_freed_memory() -> None:
    """Keep up to 64 MiB of freed memory for the next file, if the C library is glibc.

    Memory returned to the kernel comes back page by page, zeroed, which costs 10 % of the time of
    reading. glibc itself adopts these two values after it has freed a block of 32 MiB.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, RETAINED_BYTES // 2)
        library.mallopt(TRIM_THRESHOLD, RETAINED_BYTES)


def build_environment() -> dict[str, str]:
    """The environment of a fork server: no variable of the caller but those of `LOADER_VARIABLES`."""
    return {name: os.environ[name] for name in LOADER_VARIABLES if name in os.environ} | SINGLE_THREAD_VARIABLES


class CleanForkServer(ForkServer):
    """A fork server without the caller's environment, which may hold secrets."""

    def ensure_running(self) -> None:
        """Start the server if it does not run."""
        starter = threading.get_ident()
        with START_LOCK:
            spawn_process = util.spawnv_passfds

            def spawn_without_environment(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
                """Start a process as `spawnv_passfds` does, in this thread without the caller's environment."""
                if threading.get_ident() != starter:
                    return spawn_process(path, args, passfds)
                process = subprocess.Popen(args, executable=path, env=build_environment(), pass_fds=passfds)
                # The fork server's owner waits for it.
                process.returncode = 0
                return process.pid

            util.spawnv_passfds = spawn_without_environment
            try:
                super().ensure_running()
            finally:
                util.spawnv_passfds = spawn_process
