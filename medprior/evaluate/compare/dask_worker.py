"""The work of one Dask worker: one run of a comparison, from its message to its folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from distributed import Worker, WorkerPlugin, get_worker

from medprior.cohort import Cohort
from medprior.errors import InputMissing, MedpriorError, TrainingFailed
from medprior.evaluate.compare.run import Run, scores_of
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.study import Study
from medprior.provenance import alone_in
from medprior.workers.dask_cluster import check_version
from medprior.workers.sealed import Sealed, packed, unpacked


class Running(WorkerPlugin):
    """Lets one run at a time work in a process: PyTorch draws from one stream of numbers each."""

    def setup(self, worker: Worker) -> None:
        """Nothing runs yet."""
        self._lock = threading.Lock()

    def work(self, sealed: Sealed) -> None:
        """Train and judge one run; errors as `worked`."""
        facts, _ = unpacked(sealed)
        with self._lock:
            worked(facts)


def work_sealed(name: str, sealed: Sealed) -> Sealed:
    """One task. It never raises: Dask logs arguments.

    Args:
        name: of the `Running` plugin of this comparison.
        sealed: what `ClusterRuns.work` says of a run.
    """
    try:
        running: Any = get_worker().plugins[name]
        running.work(sealed)
    except MedpriorError as error:
        return packed({"stop": str(error), "failed": isinstance(error, TrainingFailed)}, [])
    except Exception as error:
        stop = f"unforeseen {type(error).__name__} in a worker"
        return packed({"stop": stop, "failed": False}, [])
    return packed({}, [])


def worked(facts: Mapping[str, Any]) -> None:
    """Train and judge the run that `facts` tells of.

    Raises:
        MedpriorError: this worker is of another version, or does not see the folders.
    """
    check_version(str(facts["version"]))
    cohort, folder = Path(facts["cohort"]), Path(facts["folder"])
    if not cohort.is_dir() or not folder.parent.is_dir():
        raise InputMissing(
            "a worker of the cluster does not see the cohort or the comparison",
            where="--scheduler",
            fix="use a file system that all workers share",
        )
    settings = CompareSettings.checked(facts["settings"])
    torch.set_num_threads(facts["threads"])
    study = Study.of(Cohort.open(cohort), "test", frozenset(facts["excluded"]), settings.evaluate)
    run = Run(folder, Arm.checked(facts["arm"]), facts["seed"], Path(facts["origin"]))
    with alone_in(folder):
        scores_of(run, cohort, study, settings)
