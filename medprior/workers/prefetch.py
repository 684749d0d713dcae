"""Runs an iterator in a thread, some items ahead of its consumer."""

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
    """The iterator has ended, perhaps with an error."""

    error: BaseException | None = None


@contextmanager
def prefetch_items(items: Iterable[T], most: int) -> Iterator[Iterator[T]]:
    """The same items in the same order, made in a thread, at most `most` before they are asked for.

    Decoding processes get their next file at once, also while the consumer is busy writing. The
    thread has ended when the block is left.

    Args:
        items: used in the thread alone.
        most: items that may wait.
    """
    line: queue.Queue[T | EndOfItems] = queue.Queue(most)
    stop = threading.Event()

    def put(item: T | EndOfItems) -> None:
        """Wait for room, but not longer than somebody listens."""
        while not stop.is_set():
            try:
                line.put(item, timeout=PUT_TIMEOUT_SECONDS)
                return
            except queue.Full:
                continue

    def make() -> None:
        """The thread's work."""
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(EndOfItems())
        except BaseException as error:
            put(EndOfItems(error))

    def taken() -> Iterator[T]:
        """What the consumer sees."""
        while True:
            item = line.get()
            if isinstance(item, EndOfItems):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=make, name="medprior-ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        thread.join()
