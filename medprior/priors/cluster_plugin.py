"""Dask worker plugin that transfers labels to pictures."""

from __future__ import annotations

import threading
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

import medprior
from medprior.errors import MedpriorError
from medprior.priors.transfer import LabelTransfer
from medprior.workers.dask_cluster import check_worker_version
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message


class TransferPlugin(WorkerPlugin):
    """The label transfer of a run, sent to each worker once.

    ITK and the BLAS set their number of threads per process, and their sums depend on it: a worker
    registers one picture at a time. Start workers with one thread each to use a whole machine.

    Args:
        transfer: examples, settings and corrector.
    """

    def __init__(self, transfer: LabelTransfer) -> None:
        self._transfer, self._version = transfer, medprior.__version__

    def setup(self, worker: Worker) -> None:
        """Create the lock."""
        self._lock = threading.Lock()

    def transfer(self, sealed: SecretBytes) -> SecretBytes:
        """Maps uint8 [b, K, size, size] and records of the pictures float32 [b, s, s].

        Raises:
            MedpriorError: this worker runs another version.
        """
        check_worker_version(self._version)
        _, arrays = unpack_message(sealed)
        with self._lock:
            maps, records = self._transfer(arrays[0])
        return pack_message({"records": records}, [maps])


def run_transfer_task(name: str, sealed: SecretBytes) -> SecretBytes:
    """One task. It never raises, because Dask logs the arguments of a failed task.

    Args:
        name: of the `TransferPlugin` of this run.
        sealed: the pictures.
    """
    try:
        plugin: Any = get_worker().plugins[name]
        return SecretBytes(plugin.transfer(sealed).content)
    except MedpriorError as error:
        return pack_message({"stop": str(error)}, [])
    except Exception as error:
        return pack_message({"stop": f"unforeseen {type(error).__name__} in a worker"}, [])
