"""Who reads the files of a run: processes here, fetching where they must, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medprior.ingest.decoding import DecodedImage, RejectedFile
from medprior.ingest.origin import LocalFolder, RemoteFolder
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import DecodingPool, ProcessLimits
from medprior.ingest.settings import IngestSettings
from medprior.workers.prefetch import prefetch_items

PREFETCHED_RESULTS = 32


@contextmanager
def decode_sources(
    todo: Sequence[ImageSource], origin: LocalFolder | RemoteFolder, settings: IngestSettings, private: Path
) -> Iterator[Iterator[DecodedImage | RejectedFile]]:
    """Answers to `todo`, in its order, whoever gives them.

    Args:
        todo: sources of `origin`.
        origin: where they come from.
        settings: of the run.
        private: the cohort's private folder; fetched files are in it for a moment.
    """
    if settings.scheduler is None:
        count = min(settings.workers or os.cpu_count() or 1, max(1, len(todo)))
        with (
            decode_locally(todo, origin, settings, private, count) as answers,
            prefetch_items(answers, PREFETCHED_RESULTS) as waiting,
        ):
            yield waiting
        return
    from medprior.ingest.cluster import ClusterDecodingPool

    def alone(source: ImageSource) -> DecodedImage | RejectedFile:
        """Read one source here."""
        with decode_locally([source], origin, settings, private, 1) as answers:
            return next(answers)

    job = (settings.policy, settings.store_size, worker_limits(settings))
    cluster = ClusterDecodingPool(settings.scheduler, origin.place, origin.remote is not None, job, alone)
    with cluster as workers:
        yield workers.map(todo)


@contextmanager
def decode_locally(
    todo: Sequence[ImageSource],
    origin: LocalFolder | RemoteFolder,
    settings: IngestSettings,
    private: Path,
    count: int,
) -> Iterator[Iterator[DecodedImage | RejectedFile]]:
    """Answers of `count` processes on this machine."""
    with DecodingPool(count, settings.policy, settings.store_size, worker_limits(settings)) as workers:
        if origin.remote is None:
            yield workers.map(todo)
            return
        from medprior.ingest.fetching import PrefetchedSources

        with PrefetchedSources(todo, origin.remote, private / "fetched", settings.policy) as local:
            yield local.answers(workers)


def worker_limits(settings: IngestSettings) -> ProcessLimits:
    """What a decoding process may use."""
    return ProcessLimits(settings.memory_mb, settings.cpu_seconds, settings.wall_seconds)
