"""Commits batches of added images to disk in a thread, in an order that survives a power cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from medprior.cohort.journal import Journal
from medprior.cohort.store import fsync_masks


class Committer:
    """Forces a batch's masks and pixels to disk, then writes the journal lines that name them.

    Batches are committed one at a time; `begin` waits for the previous one. A failed batch is not
    retried, since a journal line may be half written.

    Args:
        journal: of the cohort; only this object writes it while batches are pending.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="medprior-commit")
        self._pending_batch: Future[None] | None = None

    def begin(self, lines: Sequence[bytes], masks: Sequence[Path], shard: int) -> None:
        """Commit a batch in the background.

        Args:
            lines: journal lines of the batch.
            masks: mask files of the batch.
            shard: file descriptor of the shard with the last pixels; closed here.

        Raises:
            OSError: the previous batch could not be committed.
        """
        try:
            self.wait()
        except BaseException:
            os.close(shard)
            raise
        self._pending_batch = self._executor.submit(self._commit, lines, masks, shard)

    def _commit(self, lines: Sequence[bytes], masks: Sequence[Path], shard: int) -> None:
        try:
            fsync_masks(masks)
            os.fsync(shard)
        finally:
            os.close(shard)
        self._journal.append_lines(lines)
        self._journal.sync()

    def wait(self) -> None:
        """Wait until no batch is pending.

        Raises:
            OSError: the last batch could not be committed.
        """
        batch, self._pending_batch = self._pending_batch, None
        if batch is not None:
            batch.result()

    def close(self) -> None:
        """Finish the pending batch and end the thread."""
        self._executor.shutdown(wait=True)
