"""Per-image maps, computed in processes or on a cluster and journalled, so that runs resume."""

from __future__ import annotations

import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medprior.cohort.columns import CHUNK_ROWS
from medprior.cohort.journal import Journal, encode_json_line
from medprior.cohort.squares import SquareImages
from medprior.locks import LOCK_FILE, acquire_lock
from medprior.observer import progress_bar
from medprior.priors.prior import PER_IMAGE_FILE
from medprior.priors.transfer import LabelTransfer

CHUNK_SIZE = 8
REGISTRATION_JOURNAL = "registrations.jsonl"
Squares = NDArray[np.float32] | SquareImages
TransferResult = tuple[NDArray[np.uint8], list[dict[str, Any]]]


def compute_image_maps(
    folder: Path,
    key: str,
    image_ids: Sequence[str],
    squares: Squares,
    transfer: LabelTransfer,
    workers: int,
    scheduler: str | None = None,
) -> tuple[NDArray[np.uint8], pd.DataFrame]:
    """Maps and registration records of all images; those already in `folder` are kept.

    Maps are written to disk before their journal record, so that a run that is killed at any time
    can resume. The maps of an image depend on that image and the examples alone, never on `workers`
    or `scheduler`, which may differ in the resumed run. Records are in memory only when the table is
    made of them, in chunks.

    Args:
        folder: the prior's folder.
        key: digest of examples, settings and images; results of another key are discarded.
        image_ids: n names.
        squares: float32 [n, s, s].
        transfer: applied to each picture.
        workers: processes.
        scheduler: address of a Dask scheduler whose workers are used instead.

    Returns:
        uint8 [n, K, size, size] memory-mapped; the table of `SpatialPrior`.
    """
    lock = acquire_lock(folder / LOCK_FILE, "this prior")
    try:
        is_done = np.zeros(len(image_ids), bool)

        def mark_done(record: dict[str, Any], line: bytes) -> None:
            """Note that an image has its maps; the first line has no row."""
            if "row" in record:
                is_done[record["row"]] = True

        journal = resume_journal(folder, key, mark_done)
        structures, size = len(transfer.examples[0].coverage), transfer.settings.size
        maps = open_maps_file(folder / PER_IMAGE_FILE, (len(image_ids), structures, size, size), bool(is_done.any()))
        rows = np.flatnonzero(~is_done).tolist()
        with progress_bar(total=len(image_ids), initial=int(is_done.sum()), desc="prior", unit="img") as bar:
            for chunk, (values, records) in transfer_chunks(rows, squares, transfer, workers, scheduler):
                maps[chunk] = values
                maps.flush()
                places = ({"row": row, "image_id": image_ids[row]} for row in chunk)
                pairs = zip(places, records, strict=True)
                journal.append_lines([encode_json_line(place | record) for place, record in pairs])
                journal.sync()
                bar.update(len(chunk))
        journal.close()
        return maps, load_registrations(folder / REGISTRATION_JOURNAL)
    finally:
        lock.release()


def load_registrations(path: Path) -> pd.DataFrame:
    """The table of `SpatialPrior` from a complete journal, one row per image in the cohort's order."""
    with path.open("rb") as file:
        next(file)  # the key
        frames = []
        while records := [json.loads(line) for line in islice(file, CHUNK_ROWS)]:
            frames.append(pd.DataFrame(records))
    table = pd.concat(frames, ignore_index=True).sort_values("row", ignore_index=True).drop(columns="row")
    leading = ["image_id", "trust", "status"]
    return table[[*leading, *(name for name in table if name not in leading)]]


def resume_journal(folder: Path, key: str, on_record: Callable[[dict[str, Any], bytes], None] | None = None) -> Journal:
    """The journal of this key, emptied where it is of another one; `on_record` as in `Journal`."""
    path = folder / REGISTRATION_JOURNAL
    if path.is_file() and read_journal_key(path) != key:
        path.unlink()
    journal = Journal(path, on_record=on_record)
    if not path.stat().st_size:
        (folder / PER_IMAGE_FILE).unlink(missing_ok=True)
        journal.append({"key": key})
    return journal


def read_journal_key(path: Path) -> str | None:
    """The key in the first line of a journal; None where the line is not whole."""
    with path.open("rb") as file:
        try:
            record = json.loads(file.readline())
        except ValueError:
            return None
    return record.get("key") if isinstance(record, dict) else None


def open_maps_file(path: Path, shape: tuple[int, ...], exists: bool) -> np.memmap[Any, np.dtype[np.uint8]]:
    """The file of maps, existing where it `exists`, else new."""
    mode = "r+" if exists else "w+"
    return np.lib.format.open_memmap(path, mode=mode, dtype=np.uint8, shape=shape)


def transfer_chunks(
    rows: list[int],
    squares: Squares,
    transfer: LabelTransfer,
    workers: int,
    scheduler: str | None = None,
) -> Iterator[tuple[list[int], TransferResult]]:
    """Chunks of rows with their results, in order; a few chunks are in progress at any time."""
    chunks = [rows[start : start + CHUNK_SIZE] for start in range(0, len(rows), CHUNK_SIZE)]
    if scheduler is not None and chunks:
        from medprior.priors.cluster import ClusterTransfer

        with ClusterTransfer(scheduler, transfer) as cluster:
            yield from cluster.chunks(chunks, squares)
        return
    if workers <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield chunk, transfer(np.asarray(squares[chunk]))
        return
    # Spawn: a fork would copy the threads and locks of this process.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context) as pool:
        pending: deque[tuple[list[int], Future[TransferResult]]] = deque()
        for chunk in chunks:
            pending.append((chunk, pool.submit(transfer, np.asarray(squares[chunk]))))
            if len(pending) > 2 * workers:
                rows_done, future = pending.popleft()
                yield rows_done, future.result()
        while pending:
            rows_done, future = pending.popleft()
            yield rows_done, future.result()
