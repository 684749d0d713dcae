"""The work of one Dask worker: files are read in bounded processes of its own."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

import medprior
from medprior.dicom import Policy
from medprior.errors import MedpriorError, Rejected
from medprior.ingest.decoding import DecodedImage, RejectedFile, deserialize_source, serialize_result
from medprior.ingest.origin import fetch_source, remove_fetched_files
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import DecodingPool, ProcessLimits
from medprior.ingest.remote import RemoteStore
from medprior.workers.dask_cluster import check_worker_version
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message

DecodingJob = tuple[Policy, int, ProcessLimits]


class DecodingPlugin(WorkerPlugin):
    """Bounded decoding processes, one for each thread of a Dask worker, made on first use.

    Args:
        policy: what counts as a usable radiograph.
        store_size: longest side of the pictures handed back.
        limits: what each process may use for one file.
        place: root of the input, a folder or a URL, sealed.
    """

    def __init__(self, policy: Policy, store_size: int, limits: ProcessLimits, place: SecretBytes) -> None:
        self._job: DecodingJob = (policy, store_size, limits)
        self._place, self._version = place, medprior.__version__

    def setup(self, worker: Worker) -> None:
        """Start with no process."""
        self._idle: queue.LifoQueue[DecodingPool] = queue.LifoQueue()
        self._folder = Path(tempfile.mkdtemp(prefix="medprior-", dir=worker.local_directory))
        self._remote: RemoteStore | None = None
        self._checked = False
        self._number, self._lock = 0, threading.Lock()

    def teardown(self, worker: Worker) -> None:
        """End all processes and remove what was fetched."""
        while not self._idle.empty():
            self._idle.get_nowait().__exit__()
        shutil.rmtree(self._folder, ignore_errors=True)

    def read(self, source: ImageSource) -> DecodedImage | RejectedFile:
        """Read one source.

        Raises:
            MedpriorError: this worker cannot read any.
        """
        with self._lock:
            if not self._checked:
                self._check()
            self._number += 1
            number = self._number
        if self._remote is None:
            return self._decode_bounded(source)
        try:
            near = fetch_source(source, self._remote, self._folder, number, self._job[0])
            return self._decode_bounded(near)
        except Rejected as error:
            return RejectedFile(error.code, error.what)
        finally:
            remove_fetched_files(self._folder, number)

    def _check(self) -> None:
        check_worker_version(self._version)
        facts, _ = unpack_message(self._place)
        if facts["url"]:
            self._remote = RemoteStore(facts["url"])
        elif not Path(facts["folder"]).exists():
            raise MedpriorError(
                "a worker of the cluster does not see the input",
                where="INPUT",
                fix="use a file system that all workers share, or an object store",
            )
        self._checked = True

    def _decode_bounded(self, source: ImageSource) -> DecodedImage | RejectedFile:
        try:
            workers = self._idle.get_nowait()
        except queue.Empty:
            policy, store_size, limits = self._job
            workers = DecodingPool(1, policy, store_size, limits).__enter__()
        try:
            (answer,) = workers.map([source])
        except BaseException:
            workers.__exit__()
            raise
        self._idle.put(workers)
        return answer


def decode_sealed_source(name: str, sealed: SecretBytes) -> SecretBytes:
    """One task: a sealed source becomes a sealed answer. It never raises: Dask logs arguments.

    Args:
        name: of the `Reading` plugin of this run.
        sealed: what `source_message` says.
    """
    try:
        reading: Any = get_worker().plugins[name]
        facts, _ = unpack_message(sealed)
        return pack_message(*serialize_result(reading.read(deserialize_source(facts))))
    except MedpriorError as error:
        return pack_message({"stop": str(error)}, [])
    except Exception as error:
        return pack_message({"stop": f"unforeseen {type(error).__name__} in a worker"}, [])
