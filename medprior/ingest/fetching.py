"""Fetches a bounded number of remote files ahead of the decoding processes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self, overload

from medprior.dicom import Policy
from medprior.errors import Rejected
from medprior.ingest.decoding import DecodedImage, RejectedFile
from medprior.ingest.origin import fetch_source, remove_fetched_files
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import DecodingPool
from medprior.ingest.remote import FileStore

FETCH_AHEAD = 32
FETCH_THREADS = 16


class PrefetchedSources(Sequence[ImageSource]):
    """Remote sources as local files, fetched ahead of use. A context manager.

    Args:
        sources: remote sources.
        remote: store of the sources.
        folder: private folder for the files; emptied on entry and removed on exit.
        policy: its `max_bytes` bounds every file.
    """

    def __init__(self, sources: Sequence[ImageSource], remote: FileStore, folder: Path, policy: Policy) -> None:
        self._sources, self._remote, self._folder, self._policy = sources, remote, folder, policy
        self._executor = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="medprior-fetch")
        self._pending_fetches: dict[int, Future[ImageSource | RejectedFile]] = {}
        self._fetch_count = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._remote.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> ImageSource: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ImageSource]: ...

    def __getitem__(self, index: int | slice) -> ImageSource | Sequence[ImageSource]:
        """The local source; waits for its files."""
        if isinstance(index, slice):
            raise TypeError("slices are not supported")
        while self._fetch_count < min(len(self), index + FETCH_AHEAD):
            number = self._fetch_count
            self._pending_fetches[number] = self._executor.submit(self._fetch, number)
            self._fetch_count += 1
        fetched = self._pending_fetches[index].result()
        # The decoding process finds no file then; `decode_with` ignores its result.
        return self._sources[index] if isinstance(fetched, RejectedFile) else fetched

    def _fetch(self, number: int) -> ImageSource | RejectedFile:
        try:
            return fetch_source(self._sources[number], self._remote, self._folder, number, self._policy)
        except Rejected as error:
            return RejectedFile(error.code, error.what)

    def decode_with(self, pool: DecodingPool) -> Iterator[DecodedImage | RejectedFile]:
        """Decode the files with `pool`, in order; a file is removed once it is decoded."""
        for number, result in enumerate(pool.map(self)):
            fetched = self._pending_fetches.pop(number).result()
            remove_fetched_files(self._folder, number)
            yield fetched if isinstance(fetched, RejectedFile) else result
