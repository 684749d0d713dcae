"""A process of another stage that waits for requests with its imports done."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from medprior.errors import MedpriorError, Rejected
from medprior.workers.messages import MessageError, receive_message, send_message

RequestAnswer = tuple[dict[str, Any], Sequence[NDArray[Any]]]
RequestHandler = Callable[[dict[str, Any], list[NDArray[Any]]], Iterator[RequestAnswer]]
DONE, REFUSED, FAILED = "done", "refused", "failed"


class RequestProcess:
    """A process that answers requests one at a time, each with any number of answers; thread-safe.

    It starts at once, and again with the first request after it ended.

    Args:
        module: run with `python -m`; its last argument is the descriptor for `answer_requests`.
        arguments: of the module, before the descriptor.
        where: what errors call its work.
        seconds: longest time for one request.
    """

    def __init__(self, module: str, arguments: Sequence[str], where: str, seconds: float = 900) -> None:
        self._argv = [sys.executable, "-m", module, *arguments]
        self._where, self._seconds = where, seconds
        self._lock = threading.Lock()
        self._start()

    def request(
        self,
        facts: dict[str, Any],
        on_answer: Callable[[dict[str, Any], list[NDArray[Any]]], None],
        arrays: Sequence[NDArray[Any]] = (),
    ) -> None:
        """Send a request and call `on_answer` with the facts and arrays of each answer as it comes.

        Raises:
            MedpriorError: the process refuses the request, fails, ends or takes too long.
        """
        with self._lock:
            if self._process.poll() is not None:
                self._start()
            deadline = time.monotonic() + self._seconds
            try:
                send_message(self._channel, facts, arrays, deadline)
                while True:
                    answer, values = receive_message(self._channel, deadline)
                    if DONE in answer:
                        break
                    on_answer(answer, values)
            except MessageError as error:
                self._stop()
                what = f"it took longer than {self._seconds:g} s" if error.timed_out else "its process ended"
                raise MedpriorError(what, where=self._where) from None
            except BaseException:
                self._stop()  # answers that nobody reads would be taken for those of the next request
                raise
        if REFUSED in answer:
            raise MedpriorError(answer[REFUSED], where=self._where)
        if FAILED in answer:
            raise MedpriorError(f"an unforeseen error ({answer[FAILED]})", where=self._where)

    def close(self) -> None:
        """End the process; a request in progress fails."""
        self._stop()

    def _start(self) -> None:
        self._channel, child = socket.socketpair()
        with child:
            # Its messages may quote paths and headers: the answers hold what a user may read.
            self._process = subprocess.Popen(
                [*self._argv, str(child.fileno())], pass_fds=[child.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def _stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with the processes that it started
        self._process.wait()
        self._channel.close()


def answer_requests(descriptor: int, handler: RequestHandler) -> None:
    """Answer the requests of a `RequestProcess` until it closes or ends.

    Args:
        descriptor: of the socket to it.
        handler: the answers to one request; MedpriorError refuses it.
    """
    with socket.socket(fileno=descriptor) as channel:
        while True:
            try:
                facts, arrays = receive_message(channel)
                last: dict[str, Any] = {DONE: True}
                try:
                    for answer, values in handler(facts, arrays):
                        send_message(channel, answer, values)
                except MedpriorError as error:
                    last |= {REFUSED: error.what if isinstance(error, Rejected) else str(error)}
                except MessageError:
                    raise
                except Exception as error:
                    last |= {FAILED: type(error).__name__}  # the message may hold paths
                send_message(channel, last)
            except MessageError:
                return
