"""SIGTERM and SIGINT: finish the step, save, leave with 143 or 130; a second one leaves at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether, and by which signal, the run was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def leave(self) -> None:
        """Leave the program as the signal would."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(143)


@contextmanager
def catch_stop_signals(request: StopRequest | None = None) -> Iterator[StopRequest]:
    """Note stop signals in `request` while the block runs; only the main thread receives any."""
    request = StopRequest() if request is None else request
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def ask(number: int, _: FrameType | None) -> None:
        """Remember the signal until the step is done."""
        request.signal = number
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
