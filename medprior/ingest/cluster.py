"""Reading on a Dask cluster; the process that began it is the only writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from medprior.dicom import Policy
from medprior.ingest.decoding import DecodedImage, RejectedFile, deserialize_result, serialize_source
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import ProcessLimits
from medprior.workers.dask_cluster import DaskCluster
from medprior.workers.secret_bytes import pack_message


class ClusterDecodingPool(DaskCluster):
    """Reads sources on a Dask cluster, answers in the order of the sources. A context manager.

    To the cluster go paths or URLs, the policy and the limits, sealed; no identity key and no
    credentials. Back come pictures, facts and raw identifiers, sealed; pseudonyms are made here.

    Args:
        address: of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
        place: root of the input: a folder's path, or a URL.
        remote: whether `place` is a URL.
        job: policy, store size and limits of the reading.
        alone: reads one source here; asked where workers died over a file.
    """

    def __init__(
        self,
        address: str,
        place: str,
        remote: bool,
        job: tuple[Policy, int, ProcessLimits],
        alone: Callable[[ImageSource], DecodedImage | RejectedFile],
    ) -> None:
        super().__init__(address)
        self._job, self._read_locally = job, alone
        self._place = pack_message({"url": place if remote else "", "folder": place}, [])

    def _plugin(self) -> Any:
        from medprior.ingest.cluster_worker import DecodingPlugin

        return DecodingPlugin(*self._job, self._place)

    def map(self, sources: Sequence[ImageSource]) -> Iterator[DecodedImage | RejectedFile]:
        """Read all sources; answers come in the order of `sources`.

        Raises:
            MedpriorError: the cluster is gone, or its workers cannot read.
        """
        from medprior.ingest.cluster_worker import decode_sealed_source

        messages = (pack_message(serialize_source(source), []) for source in sources)
        for source, future in zip(sources, self._submit_tasks(decode_sealed_source, messages), strict=True):
            yield self._answer(future, source)

    def _answer(self, future: Any, source: ImageSource) -> DecodedImage | RejectedFile:
        from distributed import KilledWorker

        try:
            return deserialize_result(*self._receive_result(future))
        except KilledWorker:
            # The bounded process here decides.
            return self._read_locally(source)
