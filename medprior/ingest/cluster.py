"""Reading on a Dask cluster; the process that began it is the only writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from medprior.dicom import Policy
from medprior.ingest.item import Item, Refused, answer_of, source_message
from medprior.ingest.plan import Source
from medprior.ingest.pool import Limits
from medprior.workers.dask_cluster import Cluster
from medprior.workers.sealed import packed


class ClusterWorkers(Cluster):
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
        job: tuple[Policy, int, Limits],
        alone: Callable[[Source], Item | Refused],
    ) -> None:
        super().__init__(address)
        self._job, self._alone = job, alone
        self._place = packed({"url": place if remote else "", "folder": place}, [])

    def _plugin(self) -> Any:
        from medprior.ingest.cluster_reading import Reading

        return Reading(*self._job, self._place)

    def map(self, sources: Sequence[Source]) -> Iterator[Item | Refused]:
        """Read all sources; answers come in the order of `sources`.

        Raises:
            MedpriorError: the cluster is gone, or its workers cannot read.
        """
        from medprior.ingest.cluster_reading import read_sealed

        messages = (packed(source_message(source), []) for source in sources)
        for source, future in zip(sources, self._begun(read_sealed, messages), strict=True):
            yield self._answer(future, source)

    def _answer(self, future: Any, source: Source) -> Item | Refused:
        from distributed import KilledWorker

        try:
            return answer_of(*self._told(future))
        except KilledWorker:
            # The bounded process here decides.
            return self._alone(source)
