"""Per-image maps, computed in processes or on a cluster and journalled, so that runs resume."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from medprior.cohort.journal import Journal
from medprior.locks import LOCK_FILE, acquire_lock
from medprior.priors.prior import PER_IMAGE_FILE
from medprior.priors.transfer import LabelTransfer

CHUNK_SIZE = 8
REGISTRATION_JOURNAL = "registrations.jsonl"
Squares = NDArray[np.float32]
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
    or `scheduler`, which may differ in the resumed run.

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
        journal = resume_journal(folder, key)
        done = {record["row"]: record for record in journal.records[1:]}
        structures, size = len(transfer.examples[0].coverage), transfer.settings.size
        maps = open_maps_file(folder / PER_IMAGE_FILE, (len(image_ids), structures, size, size), bool(done))
        rows = [row for row in range(len(image_ids)) if row not in done]
        with tqdm(total=len(image_ids), initial=len(done), desc="prior", unit="img", disable=None) as bar:
            for chunk, (values, records) in transfer_chunks(rows, squares, transfer, workers, scheduler):
                maps[chunk] = values
                maps.flush()
                for row, record in zip(chunk, records, strict=True):
                    journal.append({"row": row, "image_id": image_ids[row], **record})
                    done[row] = journal.records[-1]
                journal.sync()
                bar.update(len(chunk))
        journal.close()
    finally:
        lock.release()
    table = pd.DataFrame([done[row] for row in range(len(image_ids))]).drop(columns="row")
    leading = ["image_id", "trust", "status"]
    return maps, table[[*leading, *(name for name in table if name not in leading)]]


def resume_journal(folder: Path, key: str) -> Journal:
    """The journal of this key, emptied where it is of another one."""
    journal = Journal(folder / REGISTRATION_JOURNAL)
    if journal.records and journal.records[0].get("key") != key:
        journal.close()
        (folder / REGISTRATION_JOURNAL).unlink()
        journal = Journal(folder / REGISTRATION_JOURNAL)
    if not journal.records:
        (folder / PER_IMAGE_FILE).unlink(missing_ok=True)
        journal.append({"key": key})
    return journal


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
