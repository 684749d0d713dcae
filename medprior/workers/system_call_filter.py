"""Limits the system calls of this process for good (seccomp), with a filter that is an allow-list."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

SET_MODE_FILTER, SYNCHRONISE_THREADS = 1, 1
# One instruction is {u16 code; u8 jump if true; u8 jump if false; u32 operand} (linux/filter.h).
LOAD, AND, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16
X32_NUMBERS = 0x40000000
# Per machine: its audit number, the number of `seccomp` itself, and the columns of `SYSTEM_CALLS`.
MACHINES = {"x86_64": (0xC000003E, 317, 0), "aarch64": (0xC00000B7, 277, 1)}
# Name -> numbers on x86_64 and aarch64; -1 where the machine has no such call.
SYSTEM_CALLS = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, -1), "fstat": (5, 80), "lstat": (6, -1),
    "poll": (7, -1), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, -1), "select": (23, -1),
    "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, -1),
    "nanosleep": (35, 101), "getitimer": (36, 102), "setitimer": (38, 103), "getpid": (39, 172), "sendto": (44, 206),
    "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212), "exit": (60, 93), "uname": (63, 160),
    "fcntl": (72, 25), "ftruncate": (77, 46), "getcwd": (79, 17), "readlink": (89, -1), "gettimeofday": (96, 169),
    "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173),
    "sigaltstack": (131, 132), "statfs": (137, 43), "fstatfs": (138, 44), "arch_prctl": (158, -1), "gettid": (186, 178),
    "futex": (202, 98), "sched_getaffinity": (204, 123), "getdents64": (217, 61), "set_tid_address": (218, 96),
    "restart_syscall": (219, 128), "fadvise64": (221, 223), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115), "exit_group": (231, 94), "newfstatat": (262, 79), "readlinkat": (267, 78),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99), "dup3": (292, 24),
    "getcpu": (309, 168), "getrandom": (318, 278), "membarrier": (324, 283), "statx": (332, 291), "rseq": (334, 293),
    "faccessat2": (439, 439),
}  # fmt: skip
THREAD_FLAG, WRITE_FLAGS = 0x10000, os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
IOCTL_TCGETS, IOCTL_FIONBIO, IOCTL_FIOCLEX, PR_SET_NAME = 0x5401, 0x5421, 0x5451, 15
# A condition: index of the 32-bit argument word, mask, value. An argument has two words, the low one first.
Condition = tuple[int, int, int]
Instruction = tuple[int, int, int, int]


def list_conditional_calls(pid: int) -> dict[tuple[int, int], list[list[Condition]]]:
    """System calls that are allowed where all conditions of one alternative hold.

    Threads but no processes; files for reading only; signals to this process only; limits can be read.
    """
    every_bit = 0xFFFFFFFF
    return {
        (56, 220): [[(0, THREAD_FLAG, THREAD_FLAG)]],
        (2, -1): [[(2, WRITE_FLAGS, 0)]],
        (257, 56): [[(4, WRITE_FLAGS, 0)]],
        (62, 129): [[(0, every_bit, pid)]],
        (234, 131): [[(0, every_bit, pid)]],
        (302, 261): [[(0, every_bit, 0), (4, every_bit, 0), (5, every_bit, 0)]],
        (157, 167): [[(0, every_bit, PR_SET_NAME)]],
        (16, 29): [[(2, every_bit, request)] for request in (IOCTL_TCGETS, IOCTL_FIONBIO, IOCTL_FIOCLEX)],
    }


def build_filter_program(machine: str, pid: int) -> bytes:
    """Build the filter of a process: instructions of the kernel's packet filter.

    Args:
        machine: a key of `MACHINES`.
        pid: id of the process.

    Returns:
        Bytes, eight for each instruction.
    """
    architecture, _, column = MACHINES[machine]
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_OFFSET), (JUMP_IF_EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_OFFSET), (JUMP_IF_AT_LEAST, 0, 1, X32_NUMBERS), (RETURN, 0, 0, KILL),
    ]  # fmt: skip
    for numbers in SYSTEM_CALLS.values():
        if numbers[column] >= 0:
            program += [(JUMP_IF_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ALLOW)]
    # glibc starts threads with `clone` where `clone3` does not exist; the filter cannot read the flags of `clone3`.
    program += [(JUMP_IF_EQUAL, 0, 1, 435), (RETURN, 0, 0, REFUSE | errno.ENOSYS)]
    for numbers, alternatives in list_conditional_calls(pid).items():
        if numbers[column] >= 0:
            block = build_condition_block(alternatives)
            program += [(JUMP_IF_EQUAL, 0, len(block), numbers[column]), *block]
    program.append((RETURN, 0, 0, REFUSE | errno.EPERM))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def build_condition_block(alternatives: list[list[Condition]]) -> list[Instruction]:
    """Instructions that allow the call where one alternative holds, and refuse it otherwise."""
    block: list[Instruction] = []
    for conditions in alternatives:
        for index, (word, mask, value) in enumerate(conditions):
            to_next_alternative = 3 * (len(conditions) - index - 1) + 1
            block += [
                (LOAD, 0, 0, ARGUMENTS_OFFSET + 4 * word), (AND, 0, 0, mask),
                (JUMP_IF_EQUAL, 0, to_next_alternative, value),
            ]  # fmt: skip
        block.append((RETURN, 0, 0, ALLOW))
    return [*block, (RETURN, 0, 0, REFUSE | errno.EPERM)]


class FilterProgram(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def filter_system_calls() -> bool:
    """Limit all threads of this process, for good, to the system calls that decoding needs.

    They can start no process, open no socket and no file for writing, change no file's mode or owner,
    signal no other process and raise no limit. `no_new_privs` must be set.

    Returns:
        Whether the filter holds: there is none for other machines than `MACHINES`, and kernels may lack seccomp.
    """
    machine = platform.machine()
    if machine not in MACHINES:
        return False
    instructions = build_filter_program(machine, os.getpid())
    program = FilterProgram(len(instructions) // 8, instructions)
    seccomp_number = MACHINES[machine][1]
    answer: int = ctypes.CDLL(None).syscall(seccomp_number, SET_MODE_FILTER, SYNCHRONISE_THREADS, ctypes.byref(program))
    return answer == 0
