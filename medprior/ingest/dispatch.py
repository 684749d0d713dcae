"""Who reads the files of a run: processes here, fetching where they must, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from medprior.ingest.item import Item, Refused
from medprior.ingest.origin import Folder, Store
from medprior.ingest.plan import Source
from medprior.ingest.pool import Limits, Workers
from medprior.ingest.settings import IngestSettings
from medprior.workers.prefetch import ahead

WAITING = 32


@contextmanager
def answering(
    todo: Sequence[Source], origin: Folder | Store, settings: IngestSettings, private: Path
) -> Iterator[Iterator[Item | Refused]]:
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
            near(todo, origin, settings, private, count) as answers,
            ahead(answers, WAITING) as waiting,
        ):
            yield waiting
        return
    from medprior.ingest.cluster import ClusterWorkers

    def alone(source: Source) -> Item | Refused:
        """Read one source here."""
        with near([source], origin, settings, private, 1) as answers:
            return next(answers)

    job = (settings.policy, settings.store_size, limits_of(settings))
    cluster = ClusterWorkers(
        settings.scheduler, origin.place, origin.remote is not None, job, alone
    )
    with cluster as workers:
        yield workers.map(todo)


@contextmanager
def near(
    todo: Sequence[Source],
    origin: Folder | Store,
    settings: IngestSettings,
    private: Path,
    count: int,
) -> Iterator[Iterator[Item | Refused]]:
    """Answers of `count` processes on this machine."""
    with Workers(count, settings.policy, settings.store_size, limits_of(settings)) as workers:
        if origin.remote is None:
            yield workers.map(todo)
            return
        from medprior.ingest.fetching import Fetched

        with Fetched(todo, origin.remote, private / "fetched", settings.policy) as local:
            yield local.answers(workers)


def limits_of(settings: IngestSettings) -> Limits:
    """What a decoding process may use."""
    return Limits(settings.memory_mb, settings.cpu_seconds, settings.wall_seconds)
