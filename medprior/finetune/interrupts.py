"""SIGTERM and SIGINT: finish the step, save, exit with 143 or 130; a second signal exits at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """The signal that asked the run to stop, if any."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def exit(self) -> None:
        """Exit the program as the signal would."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(143)


@contextmanager
def catch_stop_signals(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Record stop signals in `request` while the block runs; only the main thread receives them."""
    request = StopRequest() if request is None else request
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def record_signal(number: int, _: FrameType | None) -> None:
        """Record the signal until the step is done."""
        request.signal = number
        for stop_signal in STOP_SIGNALS:
            signal.signal(stop_signal, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        signal.signal(number, record_signal)
    try:
        yield request
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
