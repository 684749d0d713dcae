"""Messages to and from a cluster as bytes that no log, key, label or exception shows.

They are not encrypted: the transport does that where the cluster's address is `tls://`.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.workers.messages import MESSAGE_DTYPES, encode_message_head
from medprior.workers.sandbox import Message


class SecretBytes:
    """Bytes whose text form shows only their number, since a scheduler logs arguments.

    Args:
        content: the bytes.
    """

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"SecretBytes({len(self.content)} bytes)"

    def __sizeof__(self) -> int:
        return len(self.content) + 64

    def __reduce__(self) -> tuple[type[SecretBytes], tuple[bytes]]:
        return SecretBytes, (self.content,)


def pack_message(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> SecretBytes:
    """Pack a message as bytes: a JSON head, then the bytes of the arrays."""
    head = encode_message_head(facts, arrays)
    return SecretBytes(b"".join([len(head).to_bytes(8, "little"), head, *(array.tobytes() for array in arrays)]))


def unpack_message(message: SecretBytes) -> Message:
    """Unpack a message from `pack_message`.

    Raises:
        ValueError: the bytes are not a message.
    """
    content = message.content
    start = 8 + int.from_bytes(content[:8], "little")
    fields = json.loads(content[8:start])
    arrays: list[NDArray[Any]] = []
    for dtype, shape in fields["arrays"]:
        if dtype not in MESSAGE_DTYPES:
            raise ValueError("not a message")
        count = math.prod(int(side) for side in shape)
        array = np.frombuffer(content, np.dtype(dtype), count, start)
        arrays.append(array.reshape(shape))
        start += array.nbytes
    return dict(fields["facts"]), arrays
