"""Decodes sources on a Dask cluster; the calling process is the only writer."""

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
    """Decodes sources on a Dask cluster. A context manager.

    The cluster receives paths or URLs, the policy and the limits, and neither identity key nor
    credentials. It returns images, metadata and raw identifiers; pseudonyms are computed in this
    process. Messages are packed as `SecretBytes`: hidden from logs, not encrypted.

    Args:
        address: of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
        location: root of the input: a folder's path, or a URL.
        remote: whether `location` is a URL.
        job: policy, store size and limits of decoding.
        read_locally: decodes one source in this process, for files on which workers died.
    """

    def __init__(
        self,
        address: str,
        location: str,
        remote: bool,
        job: tuple[Policy, int, ProcessLimits],
        read_locally: Callable[[ImageSource], DecodedImage | RejectedFile],
    ) -> None:
        super().__init__(address)
        self._job, self._read_locally = job, read_locally
        self._location = pack_message({"url": location if remote else "", "folder": location}, [])

    def _plugin(self) -> Any:
        from medprior.ingest.cluster_worker import DecodingPlugin

        return DecodingPlugin(*self._job, self._location)

    def map(self, sources: Sequence[ImageSource]) -> Iterator[DecodedImage | RejectedFile]:
        """Decode all sources; results come in the order of `sources`.

        Raises:
            MedpriorError: the cluster is gone, or its workers cannot read the input.
        """
        from medprior.ingest.cluster_worker import decode_packed_source

        messages = (pack_message(serialize_source(source), []) for source in sources)
        for source, future in zip(sources, self._submit_tasks(decode_packed_source, messages), strict=True):
            yield self._unpack_result(future, source)

    def _unpack_result(self, future: Any, source: ImageSource) -> DecodedImage | RejectedFile:
        from distributed import KilledWorker

        try:
            return deserialize_result(*self._receive_result(future))
        except KilledWorker:
            # A local bounded process decides the result.
            return self._read_locally(source)
