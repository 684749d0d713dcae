"""What a decoding process and its owner say to each other: JSON and plain arrays, never pickles."""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MESSAGE_DTYPES = {"|u1", "|b1", "<u2", "<f4"}
MAX_MESSAGE_HEADER_BYTES = 2**20
LENGTH_PREFIX = struct.Struct("<Q")


class MessageError(Exception):
    """The other side is gone, silent beyond the deadline (`late`), or talks nonsense."""

    def __init__(self, what: str, late: bool = False) -> None:
        self.late = late
        super().__init__(what)


def send_message(
    channel: socket.socket,
    facts: dict[str, Any],
    arrays: Sequence[NDArray[Any]] = (),
    deadline: float = math.inf,
) -> None:
    """Send one message.

    Args:
        channel: a connected stream socket.
        facts: JSON-able; text may hold lone surrogates (file names that are no UTF-8).
        arrays: arrays of the dtypes in `DTYPES`, any shape.
        deadline: by `time.monotonic`.

    Raises:
        WireError: it cannot be sent in time.
    """
    plain = [np.ascontiguousarray(array) for array in arrays]
    said = {"facts": facts, "arrays": [[a.dtype.str, list(a.shape)] for a in plain]}
    head = json.dumps(said).encode()
    try:
        set_socket_deadline(channel, deadline)
        channel.sendall(LENGTH_PREFIX.pack(len(head)) + head)
        for array in plain:
            set_socket_deadline(channel, deadline)
            channel.sendall(memoryview(array.reshape(-1).view(np.uint8)))
    except TimeoutError:
        raise MessageError("no answer in time", late=True) from None
    except OSError:
        raise MessageError("the other side is gone") from None


def receive_message(
    channel: socket.socket, deadline: float = math.inf, most_bytes: int = 2**32
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Receive one message: facts and arrays as they were sent.

    Args:
        channel: a connected stream socket.
        deadline: by `time.monotonic`.
        most_bytes: refuse larger arrays, all of a message together.

    Raises:
        WireError: it does not come in time, or is no message.
    """
    (length,) = LENGTH_PREFIX.unpack(
        receive_exactly(channel, np.empty(LENGTH_PREFIX.size, np.uint8), deadline).tobytes()
    )
    if length > MAX_MESSAGE_HEADER_BYTES:
        raise MessageError("not a message")
    head = receive_exactly(channel, np.empty(length, np.uint8), deadline).tobytes()
    arrays: list[NDArray[Any]] = []
    try:
        said = json.loads(head)
        for dtype, shape in said["arrays"]:
            size = math.prod(int(side) for side in shape)
            most_bytes -= size * np.dtype(dtype).itemsize
            if dtype not in MESSAGE_DTYPES or size < 0 or most_bytes < 0:
                raise MessageError("not a message")
            arrays.append(np.empty(shape, dtype))
        facts: dict[str, Any] = dict(said["facts"])
    except (ValueError, TypeError, KeyError, MemoryError):
        raise MessageError("not a message") from None
    for array in arrays:
        receive_exactly(channel, array.reshape(-1).view(np.uint8), deadline)
    return facts, arrays


def receive_exactly(channel: socket.socket, room: NDArray[np.uint8], deadline: float) -> NDArray[np.uint8]:
    """`room` filled with what comes next."""
    view, got = memoryview(room), 0
    try:
        while got < len(view):
            set_socket_deadline(channel, deadline)
            count = channel.recv_into(view[got:])
            if not count:
                raise MessageError("the other side is gone")
            got += count
    except TimeoutError:
        raise MessageError("no answer in time", late=True) from None
    except OSError:
        raise MessageError("the other side is gone") from None
    return room


def set_socket_deadline(channel: socket.socket, deadline: float) -> None:
    """Let the next call on `channel` wait until `deadline` and no longer."""
    left = deadline - time.monotonic()
    channel.settimeout(None if left == math.inf else max(left, 1e-3))
