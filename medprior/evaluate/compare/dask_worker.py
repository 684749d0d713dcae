"""Execution of one run of a comparison on a Dask worker."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from distributed import Worker, WorkerPlugin, get_worker

from medprior.cohort import Cohort
from medprior.errors import InputMissing, MedpriorError, TrainingFailed
from medprior.evaluate.compare.run import ComparisonRun, score_run
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.locks import LOCK_FILE, hold_lock
from medprior.workers.dask_cluster import check_worker_version
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message


class SingleRunPlugin(WorkerPlugin):
    """Executes one run at a time per process, since PyTorch has one random stream per process."""

    def setup(self, worker: Worker) -> None:
        """Create the lock of the process."""
        self._lock = threading.Lock()
        self._name = worker.name

    def execute(self, sealed: SecretBytes) -> None:
        """Train and evaluate one run; errors as `execute_run`."""
        facts, _ = unpack_message(sealed)
        with self._lock:
            pin_gpu(self._name)
            execute_run(facts)


def pin_gpu(worker: object) -> None:
    """Make one GPU the current one of this thread; the workers of a local cluster are numbered and take turns.

    Workers of other clusters have names: what they see is the matter of whoever starts them (CUDA_VISIBLE_DEVICES).
    """
    if isinstance(worker, int) and torch.cuda.is_available():
        torch.cuda.set_device(worker % torch.cuda.device_count())


def execute_run_message(name: str, sealed: SecretBytes) -> SecretBytes:
    """Execute one run as a Dask task. Never raises, since Dask logs the arguments of failed tasks.

    Args:
        name: of the `SingleRunPlugin` of this comparison.
        sealed: message of `RunCluster.execute_runs`.
    """
    try:
        plugin: Any = get_worker().plugins[name]
        plugin.execute(sealed)
    except MedpriorError as error:
        return pack_message({"stop": str(error), "failed": isinstance(error, TrainingFailed)}, [])
    except Exception as error:
        message = f"unexpected {type(error).__name__} in a worker"
        return pack_message({"stop": message, "failed": False}, [])
    return pack_message({}, [])


def execute_run(facts: Mapping[str, Any]) -> None:
    """Train and evaluate the run that `facts` describes.

    Raises:
        MedpriorError: this worker is of another version, or does not see the folders.
    """
    check_worker_version(str(facts["version"]))
    cohort, folder = Path(facts["cohort"]), Path(facts["folder"])
    if not cohort.is_dir() or not folder.parent.is_dir():
        raise InputMissing(
            "a worker of the cluster does not see the cohort or the comparison",
            where="--scheduler",
            fix="use a file system that all workers share",
        )
    settings = CompareSettings.from_values(facts["settings"])
    torch.set_num_threads(facts["threads"])
    study = EvaluationStudy.of(Cohort.open(cohort), "test", frozenset(facts["excluded"]), settings.evaluate)
    run = ComparisonRun(folder, Arm.from_values(facts["arm"]), facts["seed"], Path(facts["origin"]))
    with hold_lock(folder / LOCK_FILE, "this run", wait_seconds=None, mode=0o666):
        score_run(run, cohort, study, settings)
