"""The filter's decisions on each machine, by an interpreter of the kernel's packet filter in a few lines."""

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from medprior.workers.system_call_filter import MACHINES, SYSTEM_CALLS, build_filter_program

PID = 4321
AUDIT_NUMBERS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
# Numbers of the calls that are allowed whatever their arguments, as in the tables of the kernel.
ALLOWED = {
    "x86_64": {
        0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24, 25, 28, 32, 33, 35, 36, 38, 39,
        44, 45, 46, 47, 60, 63, 72, 77, 79, 89, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 131, 137, 138, 158, 186,
        202, 204, 217, 218, 219, 221, 228, 229, 230, 231, 262, 267, 269, 270, 271, 273, 292, 309, 318, 324, 332, 334,
        439,
    },
    "aarch64": {
        17, 23, 24, 25, 43, 44, 46, 48, 57, 61, 62, 63, 64, 65, 66, 67, 68, 72, 73, 78, 79, 80, 93, 94, 96, 98, 99,
        101, 102, 103, 113, 114, 115, 123, 124, 128, 132, 134, 135, 139, 153, 160, 163, 165, 168, 169, 172, 173, 174,
        175, 176, 177, 178, 179, 206, 207, 211, 212, 214, 215, 216, 222, 223, 226, 233, 278, 283, 291, 293, 439,
    },
}  # fmt: skip


def decide(machine, number, *arguments, audit_number=None):
    """What the filter answers to a system call: runs the program on `struct seccomp_data`."""
    audit_number = AUDIT_NUMBERS[machine] if audit_number is None else audit_number
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", number, audit_number, 0, *(value % 2**64 for value in padded))
    program = list(struct.iter_unpack("<HBBI", build_filter_program(machine, PID)))
    position, register = 0, 0
    while True:
        code, if_true, if_false, operand = program[position]
        position += 1
        if code == 0x06:  # BPF_RET
            return operand
        if code == 0x20:  # BPF_LD of a word
            (register,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:  # BPF_AND
            register &= operand
        else:  # BPF_JEQ, BPF_JGE
            assert code in {0x15, 0x35}
            holds = register == operand if code == 0x15 else register >= operand
            position += if_true if holds else if_false


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_without_condition_are_those_of_the_list(machine):
    arguments = [2**64 - 1 - 0x10000, *[2**64 - 1] * 5]  # all bits but that of a thread
    assert {number for number in range(600) if decide(machine, number, *arguments) == ALLOW} == ALLOWED[machine]


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_machine_end_the_process(machine):
    other = next(number for name, number in AUDIT_NUMBERS.items() if name != machine)
    allowed = min(ALLOWED[machine])
    assert decide(machine, allowed) == ALLOW
    assert decide(machine, allowed, audit_number=other) == KILL
    assert decide(machine, 0x40000000 + allowed) == KILL  # the x32 interface of x86_64
    assert decide(machine, 0x3FFFFFFF) == REFUSED


CONDITIONS = {
    "clone": ((56, 220), [(0x10000,), (0x3D0F00,)], [(0,), (0x20000,)]),
    "open": ((2, -1), [(0, os.O_RDONLY), (0, os.O_CLOEXEC)], [(0, os.O_WRONLY), (0, os.O_CREAT)]),
    "openat": (
        (257, 56), [(-100, 0, os.O_RDONLY), (-100, 0, os.O_DIRECTORY)],
        [(-100, 0, flag) for flag in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC)],
    ),
    "kill": ((62, 129), [(PID, 9)], [(PID + 1, 9), (1, 9), (0, 9), (-1, 9)]),
    "tgkill": ((234, 131), [(PID, PID, 9)], [(PID + 1, PID, 9)]),
    "prlimit64": ((302, 261), [(0, 7, 0, 1)], [(0, 7, 1, 1), (0, 7, 2**32, 1), (PID, 7, 0, 1)]),
    "prctl": ((157, 167), [(15,)], [(14,), (16,), (22,), (38,)]),
    "ioctl": (
        (16, 29), [(1, 0x5401), (1, 0x5421), (1, 0x5451)], [(1, 0x5402), (1, 0x5412), (1, 0x5422), (1, 0x5452)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", CONDITIONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_calls_with_a_condition(machine, call):
    numbers, allowed, refused = CONDITIONS[call]
    number = numbers[list(AUDIT_NUMBERS).index(machine)]
    if number < 0:
        return
    for arguments in allowed:
        assert decide(machine, number, *arguments) == ALLOW, arguments
    for arguments in refused:
        assert decide(machine, number, *arguments) == REFUSED, arguments


@pytest.mark.parametrize("machine", MACHINES)
def test_clone3_seems_not_to_exist(machine):
    """Its flags lie in memory, where the filter does not see them; glibc then uses `clone`."""
    assert decide(machine, 435) == UNKNOWN


HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")


def test_numbers_are_those_of_the_kernels_headers():
    """Where the headers are: the second names `fstatat` what x86_64 names `newfstatat`."""
    for column, path in enumerate(HEADERS):
        if path.is_file():
            found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())
            stated = {name: int(number) for name, number in found}
            stated.setdefault("newfstatat", stated.get("fstatat", -1))
            for name, numbers in SYSTEM_CALLS.items():
                assert numbers[column] in {stated.get(name), -1}, name
