"""Prefetches the items of an iterator in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
PUT_TIMEOUT_SECONDS = 0.2


@dataclass(frozen=True)
class EndOfItems:
    """Marks the end of the iterator, with its error if it failed."""

    error: BaseException | None = None


@contextmanager
def prefetch_items(items: Iterable[T], max_waiting: int) -> Iterator[Iterator[T]]:
    """Yield an iterator over the same items in order, computed in a thread.

    Decoding processes thus get their next file while the consumer is busy writing. The thread has
    ended when the block is left.

    Args:
        items: the items; iterated in the thread only.
        max_waiting: largest number of items computed ahead of the consumer.
    """
    buffer: queue.Queue[T | EndOfItems] = queue.Queue(max_waiting)
    stop = threading.Event()

    def put(item: T | EndOfItems) -> None:
        """Wait for room in the buffer until the consumer stops."""
        while not stop.is_set():
            try:
                buffer.put(item, timeout=PUT_TIMEOUT_SECONDS)
                return
            except queue.Full:
                continue

    def produce() -> None:
        """Compute the items in the thread."""
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(EndOfItems())
        except BaseException as error:
            put(EndOfItems(error))

    def consume() -> Iterator[T]:
        """Iterate over the items in the consumer."""
        while True:
            item = buffer.get()
            if isinstance(item, EndOfItems):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=produce, name="medprior-prefetch", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stop.set()
        thread.join()
