"""Selects who decodes the files of a run: local processes, with fetching, or a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medprior.errors import ConfigError
from medprior.ingest.decoding import DecodedImage, RejectedFile
from medprior.ingest.origin import LocalFolder, RemoteFolder
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import DecodingPool, ProcessLimits
from medprior.ingest.settings import IngestSettings
from medprior.workers.prefetch import prefetch_items

PREFETCHED_RESULTS = 32
TEXT_CPU_SECONDS = 10.0  # for one file, beyond those of decoding


@contextmanager
def decode_sources(
    sources: Sequence[ImageSource], origin: LocalFolder | RemoteFolder, settings: IngestSettings, private: Path
) -> Iterator[Iterator[DecodedImage | RejectedFile]]:
    """Results of `sources`, in their order.

    Args:
        sources: sources of `origin`.
        origin: the input.
        settings: of the run.
        private: the cohort's private folder; it holds fetched files for a moment.
    """
    if settings.scheduler is None:
        count = min(settings.workers or os.cpu_count() or 1, max(1, len(sources)))
        with (
            decode_locally(sources, origin, settings, private, count) as results,
            prefetch_items(results, PREFETCHED_RESULTS) as prefetched,
        ):
            yield prefetched
        return
    if origin.remote is not None and origin.remote.scheme.startswith("dimse"):
        raise ConfigError(
            "workers do not read an archive over DIMSE, which knows one machine by its AE title",
            where="--scheduler",
            fix="leave it out, or read the archive over DICOMweb",
        )
    from medprior.ingest.cluster import ClusterDecodingPool

    def read_locally(source: ImageSource) -> DecodedImage | RejectedFile:
        """Decode one source on this machine."""
        with decode_locally([source], origin, settings, private, 1) as results:
            return next(results)

    job = (settings.policy, settings.store_size, worker_limits(settings))
    cluster_pool = ClusterDecodingPool(
        settings.scheduler, origin.location, origin.remote is not None, job, read_locally
    )
    with cluster_pool as pool:
        yield pool.map(sources)


@contextmanager
def decode_locally(
    sources: Sequence[ImageSource],
    origin: LocalFolder | RemoteFolder,
    settings: IngestSettings,
    private: Path,
    count: int,
) -> Iterator[Iterator[DecodedImage | RejectedFile]]:
    """Results of `count` processes on this machine."""
    with DecodingPool(count, settings.policy, settings.store_size, worker_limits(settings)) as pool:
        if origin.remote is None:
            yield pool.map(sources)
            return
        from medprior.ingest.fetching import PrefetchedSources

        with PrefetchedSources(sources, origin.remote, private / "fetched", settings.policy) as fetched:
            yield fetched.decode_with(pool)


def worker_limits(settings: IngestSettings) -> ProcessLimits:
    """Resource limits of a decoding process; looking for text takes longer."""
    text_seconds = TEXT_CPU_SECONDS if settings.policy.detect_text else 0.0
    return ProcessLimits(settings.memory_mb, settings.cpu_seconds + text_seconds, settings.wall_seconds)
