"""What travels to and from a cluster: bytes that no log, key, label or exception shows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medprior.workers.messages import MESSAGE_DTYPES
from medprior.workers.sandbox import Message


class SecretBytes:
    """Bytes whose text form says only how many they are. A scheduler writes arguments to its logs.

    Args:
        content: the bytes.
    """

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"Sealed({len(self.content)} bytes)"

    def __sizeof__(self) -> int:
        return len(self.content) + 64

    def __reduce__(self) -> tuple[type[SecretBytes], tuple[bytes]]:
        return SecretBytes, (self.content,)


def pack_message(facts: dict[str, Any], arrays: list[NDArray[Any]]) -> SecretBytes:
    """A message as bytes: a JSON head, then the arrays' own bytes."""
    plain = [np.ascontiguousarray(array) for array in arrays]
    said = {"facts": facts, "arrays": [[a.dtype.str, list(a.shape)] for a in plain]}
    head = json.dumps(said).encode()
    return SecretBytes(b"".join([len(head).to_bytes(8, "little"), head, *(a.tobytes() for a in plain)]))


def unpack_message(sealed: SecretBytes) -> Message:
    """The message that `packed` was given.

    Raises:
        ValueError: it is none.
    """
    content = sealed.content
    start = 8 + int.from_bytes(content[:8], "little")
    said = json.loads(content[8:start])
    arrays: list[NDArray[Any]] = []
    for dtype, shape in said["arrays"]:
        if dtype not in MESSAGE_DTYPES:
            raise ValueError("not a message")
        count = math.prod(int(side) for side in shape)
        array = np.frombuffer(content, np.dtype(dtype), count, start)
        arrays.append(array.reshape(shape))
        start += array.nbytes
    return dict(said["facts"]), arrays
