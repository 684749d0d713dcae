"""Kills a busy worker of a Dask cluster while a test runs."""

import os
import signal
import threading
import time
from contextlib import contextmanager


def busy_pid(dask_scheduler):
    """Process id of a worker that has work, on the scheduler."""
    return next((worker.pid for worker in dask_scheduler.workers.values() if worker.processing), None)


def kill_busy_worker(cluster, is_begun, killed, stop):
    import distributed

    with distributed.Client(cluster, set_as_default=False) as client:
        while not stop.is_set():
            if is_begun():
                pid = client.run_on_scheduler(busy_pid)
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    return
            time.sleep(0.005)


@contextmanager
def killing_a_busy_worker(cluster, is_begun):
    """Kill one busy worker of `cluster` (or of its address) once `is_begun()`; the block must give it the time."""
    killed, stop = [], threading.Event()
    thread = threading.Thread(target=kill_busy_worker, args=(cluster, is_begun, killed, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert len(killed) == 1
