"""Items are computed in a thread, only so far ahead, and the thread ends with its block."""

import threading
import time

import pytest

from medprior.workers.prefetch import prefetch_items


def test_items_and_errors_come_in_order():
    def yield_numbers():
        yield from range(5)
        raise KeyError("after five")

    with prefetch_items(yield_numbers(), 2) as items:
        assert [next(items) for _ in range(5)] == list(range(5))
        with pytest.raises(KeyError, match="after five"):
            next(items)
    with prefetch_items(range(100), 3) as items:
        assert list(items) == list(range(100))


def test_only_so_many_are_computed_before_they_are_asked_for():
    computed = []

    def yield_items():
        for number in range(20):
            computed.append(number)
            yield number

    with prefetch_items(yield_items(), 4) as items:
        while len(computed) < 5:
            time.sleep(0.01)
        time.sleep(0.1)
        # Four wait in line, and one for its place.
        assert len(computed) == 5
        assert next(items) == 0


def test_the_thread_ends_with_the_block():
    closed = []

    def yield_items():
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    def consumer():
        with prefetch_items(yield_items(), 2) as items:
            next(items)
            raise ValueError("consumer")

    with pytest.raises(ValueError, match="consumer"):
        consumer()
    assert not [t for t in threading.enumerate() if t.name == "medprior-prefetch"]
