"""`check_confinement` says what holds: everything here if the kernel can, nothing in a process that is not confined."""

import os

from medprior.workers.confinement_check import build_forbidden_attempts, check_confinement
from tests.workers.test_confinement import has_landlock, has_seccomp


def test_every_barrier_holds_that_this_kernel_has():
    barriers = check_confinement()
    assert len(barriers) == 6
    assert barriers["reads no file by its path (Landlock)"] == has_landlock()
    for name in ("opens no socket (seccomp)", "starts no process (seccomp)", "signals no other process"):
        assert barriers[name] >= has_seccomp(), name
    assert barriers["writes no file"] >= (has_landlock() or has_seccomp())
    assert barriers["sees no variable of your environment"]


def test_a_process_that_is_not_confined_is_not_reported_as_one(tmp_path):
    (tmp_path / "planted").touch()
    barriers, _ = build_forbidden_attempts()({"planted": str(tmp_path / "planted"), "owner": os.getpid()}, [])
    assert not any(barriers.values()), barriers
