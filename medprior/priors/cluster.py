"""Registration on a Dask cluster; only the process that starts the run writes files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.cohort.squares import SquareImages
from medprior.priors.transfer import LabelTransfer
from medprior.workers.dask_cluster import DaskCluster
from medprior.workers.secret_bytes import pack_message

Squares = NDArray[np.float32] | SquareImages
ClusterResult = tuple[NDArray[np.uint8], list[dict[str, Any]]]


class ClusterTransfer(DaskCluster):
    """Transfers examples to images on a Dask cluster. A context manager.

    `DaskCluster` connects, waits, and handles the loss of the scheduler or of all workers. The
    cluster receives the examples with their structures and the pictures, packed as `SecretBytes`
    (hidden from logs, not encrypted), without names, paths or identifiers, and returns maps and records.

    Args:
        address: of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
        transfer: applied to each picture.
    """

    def __init__(self, address: str, transfer: LabelTransfer) -> None:
        super().__init__(address)
        self._transfer = transfer

    def _plugin(self) -> Any:
        from medprior.priors.cluster_plugin import TransferPlugin

        return TransferPlugin(self._transfer)

    def chunks(self, chunks: list[list[int]], squares: Squares) -> Iterator[tuple[list[int], ClusterResult]]:
        """Chunks of rows of `squares` [n, s, s] with their results, in order.

        Raises:
            MedpriorError: the cluster is lost, or its workers cannot register.
        """
        from medprior.priors.cluster_plugin import run_transfer_task

        messages = (pack_message({}, [np.asarray(squares[chunk], dtype=np.float32)]) for chunk in chunks)
        for chunk, future in zip(chunks, self._submit_tasks(run_transfer_task, messages), strict=True):
            yield chunk, self._maps(future, squares, chunk)

    def _maps(self, future: Any, squares: Squares, chunk: list[int]) -> ClusterResult:
        from distributed import KilledWorker

        try:
            facts, arrays = self._receive_result(future)
        except KilledWorker:
            return self._transfer(np.asarray(squares[chunk]))  # registered in this process instead
        return np.asarray(arrays[0], dtype=np.uint8), list(facts["records"])
