"""Batches of added images are made durable in a thread, in the order that survives a power cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from medprior.cohort.journal import Journal
from medprior.cohort.store import fsync_masks


class Committer:
    """Forces a batch's masks and pixels to disk, then writes the journal lines that name them.

    One batch at a time; who brings the next one waits for the last. A batch that failed is not
    tried again: a line may be half written.

    Args:
        journal: of the cohort; written by nobody else while batches are under way.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="medprior-commit")
        self._running: Future[None] | None = None

    def begin(self, lines: Sequence[bytes], masks: Sequence[Path], shard: int) -> None:
        """Commit a batch in the background.

        Args:
            lines: its journal lines.
            masks: its mask files.
            shard: descriptor of the shard with its last pixels; closed here.

        Raises:
            OSError: the batch before could not be committed.
        """
        try:
            self.wait()
        except BaseException:
            os.close(shard)
            raise
        self._running = self._thread.submit(self._commit, lines, masks, shard)

    def _commit(self, lines: Sequence[bytes], masks: Sequence[Path], shard: int) -> None:
        try:
            fsync_masks(masks)
            os.fsync(shard)
        finally:
            os.close(shard)
        for line in lines:
            self._journal.append_line(line)
        self._journal.sync()

    def wait(self) -> None:
        """Wait until nothing is under way.

        Raises:
            OSError: the last batch could not be committed.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """End the thread; what is under way is finished first."""
        self._thread.shutdown(wait=True)
