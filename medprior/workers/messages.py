"""Messages between a decoding process and its owner: JSON and plain arrays, never pickles."""

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
MAX_DESCRIPTORS = 128
LENGTH_PREFIX = struct.Struct("<Q")


class MessageError(Exception):
    """The other side is gone, missed the deadline (`timed_out`), or sent an invalid message."""

    def __init__(self, what: str, timed_out: bool = False) -> None:
        self.timed_out = timed_out
        super().__init__(what)


def send_message(
    channel: socket.socket,
    facts: dict[str, Any],
    arrays: Sequence[NDArray[Any]] = (),
    deadline: float = math.inf,
    descriptors: Sequence[int] = (),
) -> None:
    """Send one message.

    Args:
        channel: a connected stream socket.
        facts: JSON-able; text may hold lone surrogates (file names that are not UTF-8).
        arrays: arrays of the dtypes in `MESSAGE_DTYPES`, any shape.
        deadline: time of `time.monotonic`.
        descriptors: of open files, at most `MAX_DESCRIPTORS`; the receiver gets its own copies.

    Raises:
        MessageError: it cannot be sent in time.
    """
    contiguous = [np.ascontiguousarray(array) for array in arrays]
    head = encode_message_head(facts, contiguous)
    try:
        set_socket_deadline(channel, deadline)
        start = LENGTH_PREFIX.pack(len(head))
        sent = socket.send_fds(channel, [start], list(descriptors)) if descriptors else 0
        channel.sendall(start[sent:] + head)
        for array in contiguous:
            set_socket_deadline(channel, deadline)
            channel.sendall(memoryview(array.reshape(-1).view(np.uint8)))
    except TimeoutError:
        raise MessageError("no answer in time", timed_out=True) from None
    except OSError:
        raise MessageError("the other side is gone") from None


def encode_message_head(facts: dict[str, Any], arrays: Sequence[NDArray[Any]]) -> bytes:
    """Encode the JSON head of a message: its facts, and the dtype and shape of each array."""
    return json.dumps({"facts": facts, "arrays": [[a.dtype.str, list(a.shape)] for a in arrays]}).encode()


def receive_message(
    channel: socket.socket,
    deadline: float = math.inf,
    max_bytes: int = 2**32,
    descriptors: list[int] | None = None,
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Receive one message: facts and arrays as they were sent.

    Args:
        channel: a connected stream socket.
        deadline: time of `time.monotonic`.
        max_bytes: largest total size of the arrays of one message.
        descriptors: list to which descriptors in the message are added, for the caller to close; without
            it they are discarded.

    Raises:
        MessageError: it does not arrive in time, or is not a message.
    """
    start = receive_descriptors(channel, deadline, descriptors) if descriptors is not None else b""
    rest = receive_exactly(channel, np.empty(LENGTH_PREFIX.size - len(start), np.uint8), deadline).tobytes()
    (length,) = LENGTH_PREFIX.unpack(start + rest)
    if length > MAX_MESSAGE_HEADER_BYTES:
        raise MessageError("not a message")
    head = receive_exactly(channel, np.empty(length, np.uint8), deadline).tobytes()
    arrays: list[NDArray[Any]] = []
    try:
        fields = json.loads(head)
        for dtype, shape in fields["arrays"]:
            size = math.prod(int(side) for side in shape)
            max_bytes -= size * np.dtype(dtype).itemsize
            if dtype not in MESSAGE_DTYPES or size < 0 or max_bytes < 0:
                raise MessageError("not a message")
            arrays.append(np.empty(shape, dtype))
        facts: dict[str, Any] = dict(fields["facts"])
    except (ValueError, TypeError, KeyError, MemoryError):
        raise MessageError("not a message") from None
    for array in arrays:
        receive_exactly(channel, array.reshape(-1).view(np.uint8), deadline)
    return facts, arrays


def receive_descriptors(channel: socket.socket, deadline: float, descriptors: list[int]) -> bytes:
    """Receive the first bytes of a message and add the descriptors that came with them to a list."""
    try:
        set_socket_deadline(channel, deadline)
        start, received, _, _ = socket.recv_fds(channel, LENGTH_PREFIX.size, MAX_DESCRIPTORS)
    except TimeoutError:
        raise MessageError("no answer in time", timed_out=True) from None
    except OSError:
        raise MessageError("the other side is gone") from None
    descriptors += received
    if not start:
        raise MessageError("the other side is gone")
    return start


def receive_exactly(channel: socket.socket, buffer: NDArray[np.uint8], deadline: float) -> NDArray[np.uint8]:
    """Fill `buffer` with the next bytes of the channel."""
    view, received = memoryview(buffer), 0
    try:
        while received < len(view):
            set_socket_deadline(channel, deadline)
            count = channel.recv_into(view[received:])
            if not count:
                raise MessageError("the other side is gone")
            received += count
    except TimeoutError:
        raise MessageError("no answer in time", timed_out=True) from None
    except OSError:
        raise MessageError("the other side is gone") from None
    return buffer


def set_socket_deadline(channel: socket.socket, deadline: float) -> None:
    """Limit the next call on `channel` to the time until `deadline`."""
    seconds = deadline - time.monotonic()
    channel.settimeout(None if seconds == math.inf else max(seconds, 1e-3))
