"""Parallel runs of a comparison on a Dask cluster; every run writes its own folder."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import medprior
from medprior.errors import MedpriorError, TrainingFailed
from medprior.evaluate.compare.run import ComparisonRun, is_run_complete
from medprior.evaluate.compare.settings import CompareSettings
from medprior.observer import progress_bar
from medprior.workers.dask_cluster import DaskCluster
from medprior.workers.secret_bytes import pack_message, unpack_message


class RunCluster(DaskCluster):
    """Trains and evaluates runs on a Dask cluster. A context manager.

    Connection and loss of the scheduler or of all workers are handled by `DaskCluster`. The
    workers must see the cohort, the priors and the comparison's folder under the same paths. A run
    whose worker dies continues on another one from its last checkpoint.

    Args:
        address: of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
        threads: PyTorch threads per worker; the last digits of sums depend on them.
    """

    def __init__(self, address: str, threads: int) -> None:
        super().__init__(address)
        self._worker_threads = threads

    def _plugin(self) -> Any:
        from medprior.evaluate.compare.dask_worker import SingleRunPlugin

        return SingleRunPlugin()

    def execute_runs(
        self, runs: Sequence[ComparisonRun], cohort: Path, excluded: frozenset[str], settings: CompareSettings
    ) -> None:
        """Train and evaluate every run; returns when all are done.

        Raises:
            MedpriorError: a run failed, or the cluster is gone; finished runs are kept.
        """
        from medprior.evaluate.compare.dask_worker import execute_run_message

        shared = {
            "version": medprior.__version__,
            "threads": self._worker_threads,
            "cohort": str(cohort.resolve()),
            "excluded": sorted(excluded),
            "settings": settings.model_dump(mode="json"),
        }
        futures = [
            self._submit_task(execute_run_message, pack_message(shared | build_run_message(run), [])) for run in runs
        ]
        for future, run in zip(progress_bar(futures, desc="runs"), runs, strict=True):
            self._check_result(future, run)

    def _check_result(self, future: Any, run: ComparisonRun) -> None:
        from distributed import KilledWorker

        try:
            facts, _ = unpack_message(self._wait_for_result(future))
        except KilledWorker:
            raise MedpriorError(
                "several workers died over this run",
                where=run.folder.name,
                fix="give workers more memory and run the same command again; it continues",
            ) from None
        if "stop" in facts:
            error_class = TrainingFailed if facts["failed"] else MedpriorError
            raise error_class(str(facts["stop"]), where=run.folder.name)


def build_run_message(run: ComparisonRun) -> dict[str, Any]:
    """Message of a run, with absolute paths."""
    arm = run.arm.model_dump(mode="json")
    prior = run.arm.prior
    arm["prior"] = str(prior.resolve()) if prior is not None else None
    folders = {"folder": str(run.folder.resolve()), "origin": str(run.source.resolve())}
    return {**folders, "arm": arm, "seed": run.seed}


MALLOC_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_MMAP_THRESHOLD_": str(2**28),
}
"""glibc settings that keep memory freed by a step; with those of Dask a step takes 1.7 times as long."""


@contextmanager
def override_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of processes started in the block; they override those of Dask."""
    previous = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in previous.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def start_local_cluster(workers: int) -> Iterator[str]:
    """Address of a cluster of `workers` local processes, closed at the end of the block.

    Its certificate is made for this cluster and held in memory: only clients of this process, within the block,
    and its workers connect. Without it any user of the machine could run code as its owner.
    """
    distributed: Any = importlib.import_module("distributed")
    dask: Any = importlib.import_module("dask")
    security = distributed.Security.temporary()
    with (
        dask.config.set(list_tls_settings(security)),
        override_environment(MALLOC_ENVIRONMENT),
        tempfile.TemporaryDirectory(prefix="medprior-", ignore_cleanup_errors=True) as folder,
        distributed.LocalCluster(
            n_workers=workers,
            security=security,
            protocol="tls://",
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            local_directory=folder,
            memory_limit=None,
        ) as cluster,
    ):
        yield str(cluster.scheduler_address)


def list_tls_settings(security: Any) -> dict[str, Any]:
    """Dask's configuration for clients of a cluster with these certificates, which are texts."""
    roles = ("client", "scheduler", "worker")
    parts = {f"{role}.{part}": getattr(security, f"tls_{role}_{part}") for role in roles for part in ("key", "cert")}
    settings = {f"distributed.comm.tls.{name}": text for name, text in parts.items()}
    return {
        **settings,
        "distributed.comm.tls.ca-file": security.tls_ca_file,
        "distributed.comm.require-encryption": True,
    }


def count_worker_threads(workers: int) -> int:
    """Threads per local process: `OMP_NUM_THREADS`, else an equal share of the cores."""
    omp_threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(omp_threads) if omp_threads.isdigit() and int(omp_threads) else max(1, (cores or 1) // workers)


def execute_runs_parallel(
    runs: Sequence[ComparisonRun],
    cohort: Path,
    excluded: frozenset[str],
    settings: CompareSettings,
    workers: int = 0,
    scheduler: str | None = None,
) -> None:
    """Train and evaluate the incomplete runs on a cluster or in `workers` local processes.

    Raises:
        MedpriorError: as `RunCluster.execute_runs`.
    """
    pending = [run for run in runs if not is_run_complete(run, settings)]
    if not pending:
        return
    threads = count_worker_threads(max(1, workers))
    if scheduler is not None:
        with RunCluster(scheduler, threads) as cluster:
            cluster.execute_runs(pending, cohort, excluded, settings)
        return
    count = min(workers, len(pending))
    with start_local_cluster(count) as address, RunCluster(address, threads) as cluster:
        cluster.execute_runs(pending, cohort, excluded, settings)
