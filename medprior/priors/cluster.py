"""Registration on a Dask cluster; the process that started the run stays the only writer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.dicom import Policy
from medprior.errors import MedpriorError
from medprior.ingest.cluster import WORKER_SECONDS, ClusterWorkers, no_workers
from medprior.ingest.item import Refused
from medprior.ingest.plan import Source
from medprior.ingest.sealed import packed, unpacked
from medprior.ingest.workers import Limits
from medprior.priors.transfer import Transfer

Squares = NDArray[np.float32]
Answer = tuple[NDArray[np.uint8], list[dict[str, Any]]]


class ClusterTransfer(ClusterWorkers):
    """Carries examples onto images on a Dask cluster. A context manager.

    Connection, waiting and what happens when the scheduler or all workers are gone are those of
    ingestion (`ClusterWorkers`). To the cluster go the examples with their structures and the
    pictures, sealed; no name, path or identifier. Back come maps and records.

    Args:
        address: of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
        transfer: what is done to each picture.
    """

    def __init__(self, address: str, transfer: Transfer) -> None:
        # No file is read on the workers: there is no place to read from and nothing to limit.
        super().__init__(address, "", False, (Policy(), 1, Limits()), no_file)
        self._transfer = transfer

    def _prepare(self) -> None:
        from medprior.priors.cluster_carrying import Carrying

        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise no_workers() from None
        try:
            self._client.register_plugin(Carrying(self._transfer), name=self._name)
        except Exception as error:
            raise MedpriorError(
                f"the workers of the cluster cannot run medprior ({type(error).__name__})",
                where="--scheduler",
                fix="install the same medprior on all of them",
            ) from None

    def chunks(
        self, chunks: list[list[int]], squares: Squares
    ) -> Iterator[tuple[list[int], Answer]]:
        """Chunks of rows of `squares` [n, s, s] with their answers, in order.

        Raises:
            MedpriorError: the cluster is gone, or its workers cannot register.
        """
        from medprior.priors.cluster_carrying import carry_sealed

        coming: deque[Any] = deque()
        begun = 0
        for chunk in chunks:
            while begun < len(chunks) and len(coming) < self._reach():
                sealed = packed({}, [np.asarray(squares[chunks[begun]], dtype=np.float32)])
                key = f"{self._name}-{begun}"
                coming.append(
                    self._client.submit(carry_sealed, self._name, sealed, key=key, retries=2)
                )
                begun += 1
            yield chunk, self._maps(coming.popleft(), squares, chunk)

    def _maps(self, future: Any, squares: Squares, chunk: list[int]) -> Answer:
        from distributed import KilledWorker

        try:
            facts, arrays = unpacked(self._waited(future))
        except KilledWorker:
            # Several workers died over it, or happened to: it is done here.
            return self._transfer(np.asarray(squares[chunk]))
        if "stop" in facts:
            raise MedpriorError(str(facts["stop"]), where="--scheduler")
        return np.asarray(arrays[0], dtype=np.uint8), list(facts["records"])


def no_file(source: Source) -> Refused:
    """There is none to read here."""
    raise NotImplementedError
