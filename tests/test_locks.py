"""One lock for all rooms: who holds it, for how long, and what the refusal says."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from medprior.cohort import CohortWriter
from medprior.deploy.inference.predict_files import predict_path
from medprior.errors import MedpriorError
from medprior.locks import LOCK_FILE, acquire_lock, hold_lock
from medprior.priors.per_image import compute_image_maps

HOLD = """
import sys, time
from pathlib import Path
from medprior.locks import acquire_lock
lock = acquire_lock(Path(sys.argv[1]), "this cohort")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds `tmp_path/a/.lock`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a" / LOCK_FILE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_each_thing_is_refused_under_its_own_noun(tmp_path):
    (tmp_path / "source.png").write_bytes(b"")
    private = tmp_path / "answers.private"
    writers = {
        "this cohort": (tmp_path / "cohort", lambda: CohortWriter(tmp_path / "cohort")),
        "this prior": (
            tmp_path / "prior",
            lambda: compute_image_maps(tmp_path / "prior", "", [], np.zeros((0, 8, 8), np.float32), None, 1),
        ),
        "these predictions": (
            private,
            lambda: predict_path(tmp_path / "source.png", tmp_path / "answers", None, "digest"),
        ),
    }
    for noun, (folder, write) in writers.items():
        with (
            hold_lock(folder / LOCK_FILE, noun),
            pytest.raises(MedpriorError, match=f"^{folder.name}: another run is writing {noun};"),
        ):
            write()


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    path = tmp_path / "a" / LOCK_FILE
    with pytest.raises(MedpriorError, match="another run is writing this cohort"):
        acquire_lock(path, "this cohort")
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=300)
    acquire_lock(path, "this cohort").release()
    assert path.is_file()


def test_waiting_ends_with_the_holder_or_with_the_time(holder, tmp_path):
    path = tmp_path / "a" / LOCK_FILE
    begun = time.monotonic()
    with pytest.raises(MedpriorError, match="another run"), hold_lock(path, "this run", wait_seconds=0.3):
        pass
    assert 0.3 <= time.monotonic() - begun < 5
    threading.Timer(0.5, holder.kill).start()
    with hold_lock(path, "this run", wait_seconds=None):
        assert holder.poll() is not None or holder.wait(timeout=300) is not None


def test_the_same_thread_is_refused_and_another_thread_may_release(tmp_path):
    path = tmp_path / LOCK_FILE
    lock = acquire_lock(path, "this cohort")
    with pytest.raises(MedpriorError, match="another run"):
        acquire_lock(path, "this cohort")
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    acquire_lock(path, "this cohort").release()


@pytest.mark.parametrize(
    ("umask", "mode", "expected"), [(0o022, 0o644, 0o644), (0o077, 0o644, 0o600), (0, 0o600, 0o600)]
)
def test_the_mode_is_that_of_the_caller_less_the_umask(tmp_path, umask, mode, expected):
    before = os.umask(umask)
    try:
        acquire_lock(tmp_path / "new", "this cohort", mode=mode).release()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == expected


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(MedpriorError, match="this cohort cannot be locked"):
        acquire_lock(tmp_path / LOCK_FILE, "this cohort")
