"""Decodes files on one Dask worker, in bounded processes of that worker."""

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
from medprior.ingest.remote import FileStore, open_store
from medprior.workers.dask_cluster import check_worker_version
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message

DecodingJob = tuple[Policy, int, ProcessLimits]


class DecodingPlugin(WorkerPlugin):
    """Bounded decoding processes, one per thread of a Dask worker, started on first use.

    Args:
        policy: acceptance criteria for radiographs.
        store_size: longest side of returned images in pixels.
        limits: resource limits of a process for one file.
        location: root of the input, a folder or a URL, as `SecretBytes`: hidden from logs, not encrypted.
    """

    def __init__(self, policy: Policy, store_size: int, limits: ProcessLimits, location: SecretBytes) -> None:
        self._job: DecodingJob = (policy, store_size, limits)
        self._location, self._version = location, medprior.__version__

    def setup(self, worker: Worker) -> None:
        """Prepare the worker; no process starts yet."""
        self._idle: queue.LifoQueue[DecodingPool] = queue.LifoQueue()
        self._folder = Path(tempfile.mkdtemp(prefix="medprior-", dir=worker.local_directory))
        self._remote: FileStore | None = None
        self._is_checked = False
        self._source_count, self._lock = 0, threading.Lock()

    def teardown(self, worker: Worker) -> None:
        """End all processes and remove fetched files."""
        while not self._idle.empty():
            self._idle.get_nowait().__exit__()
        shutil.rmtree(self._folder, ignore_errors=True)

    def read(self, source: ImageSource) -> DecodedImage | RejectedFile:
        """Decode one source.

        Raises:
            MedpriorError: this worker cannot read any source.
        """
        with self._lock:
            if not self._is_checked:
                self._check()
            self._source_count += 1
            number = self._source_count
        if self._remote is None:
            return self._decode_bounded(source)
        try:
            local = fetch_source(source, self._remote, self._folder, number, self._job[0])
            return self._decode_bounded(local)
        except Rejected as error:
            return RejectedFile(error.code, error.what)
        finally:
            remove_fetched_files(self._folder, number)

    def _check(self) -> None:
        check_worker_version(self._version)
        settings, _ = unpack_message(self._location)
        if settings["url"]:
            self._remote = open_store(settings["url"])
        elif not Path(settings["folder"]).exists():
            raise MedpriorError(
                "a worker of the cluster does not see the input",
                where="INPUT",
                fix="use a file system that all workers share, or an object store",
            )
        self._is_checked = True

    def _decode_bounded(self, source: ImageSource) -> DecodedImage | RejectedFile:
        try:
            pool = self._idle.get_nowait()
        except queue.Empty:
            policy, store_size, limits = self._job
            pool = DecodingPool(1, policy, store_size, limits).__enter__()
        try:
            (result,) = pool.map([source])
        except BaseException:
            pool.__exit__()
            raise
        self._idle.put(pool)
        return result


def decode_packed_source(name: str, sealed: SecretBytes) -> SecretBytes:
    """Decode a source packed as `SecretBytes` into a result packed so: hidden from logs, not encrypted.

    It never raises, since Dask logs arguments.

    Args:
        name: of the `DecodingPlugin` of this run.
        sealed: message of `serialize_source`.
    """
    try:
        plugin: Any = get_worker().plugins[name]
        source, _ = unpack_message(sealed)
        return pack_message(*serialize_result(plugin.read(deserialize_source(source))))
    except MedpriorError as error:
        return pack_message({"stop": str(error)}, [])
    except Exception as error:
        return pack_message({"stop": f"unexpected {type(error).__name__} in a worker"}, [])
