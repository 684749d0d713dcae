"""Takes the file system and the network from this process for good (Landlock, Linux 5.13 or later)."""

from __future__ import annotations

import ctypes
import os
import site
import struct
import sys
from pathlib import Path

# Numbers of the system calls, the same on every machine.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_FLAG, PATH_RULE = 1, 1
READ_FILE, READ_FOLDER = 1 << 2, 1 << 3
# Number of rights on files by version of Landlock (linux/landlock.h); the last version counts for later ones.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
NETWORK_VERSION, SCOPE_VERSION = 4, 6
TCP_RIGHTS, ALL_SCOPES = 0b11, 0b11
# The loader of shared libraries, and time zones.
SYSTEM_FOLDERS = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/usr/share/zoneinfo",
)


def list_library_folders() -> list[Path]:
    """Folders of Python, its packages and shared libraries: all that a process may still read.

    Not the current folder and not the folder of the script, which `sys.path` may hold: keys may lie there.
    """
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix)
    python = [Path(prefix, name) for prefix in prefixes for name in ("lib", sys.platlibdir)]
    packages = [Path(__file__).parents[1], *map(Path, site.getsitepackages()), Path(site.getusersitepackages())]
    return sorted({path for path in (*python, *packages, *map(Path, SYSTEM_FOLDERS)) if path.exists()})


def restrict_file_access(readable: list[Path]) -> bool:
    """Take from this thread, and from threads that it starts, every file except those below `readable`.

    Where the kernel can, it also takes TCP, abstract sockets and signals to other processes. Descriptors
    that are open stay usable. `no_new_privs` must be set.

    Args:
        readable: folders and files that may be read, and not be changed.

    Returns:
        Whether the restriction holds; older kernels and some containers have no Landlock.
    """
    library = ctypes.CDLL(None)
    version: int = library.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG)
    if version < 1:
        return False
    every_right = (1 << FILE_RIGHTS.get(version, max(FILE_RIGHTS.values()))) - 1
    fields = [every_right]
    if version >= NETWORK_VERSION:
        fields.append(TCP_RIGHTS)
    if version >= SCOPE_VERSION:
        fields.append(ALL_SCOPES)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset: int = library.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            allow_reading(library, ruleset, path)
        answer: int = library.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return answer == 0


def allow_reading(library: ctypes.CDLL, ruleset: int, path: Path) -> None:
    """Add a folder or file to a ruleset; a path that cannot be opened stays refused."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = READ_FILE | (READ_FOLDER if path.is_dir() else 0)
        library.syscall(ADD_RULE, ruleset, PATH_RULE, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)
