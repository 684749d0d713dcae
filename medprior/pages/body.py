"""Limits on the size and the arrival time of a request body."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive

from medprior.pages.problem import Problem

LINGER_SECONDS = 5.0


class BoundedBody:
    """Passes a request body on until it exceeds its size or its time.

    Args:
        receive: the ASGI server's `receive`.
        limit: largest body in bytes.
        seconds: time from now until the last byte must have arrived.
    """

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self.limit = receive, limit
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.byte_count = 0
        self.is_complete = False
        self.refusal: Problem | None = None

    async def receive(self) -> Message:
        """The next ASGI message.

        Raises:
            Problem: 413 for more than `limit` bytes, 408 after the deadline.
        """
        if self.is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError:
            self.refusal = Problem(408, "slow_body", "the request took too long to arrive")
            raise self.refusal from None
        self._count_bytes(message)
        if self.byte_count > self.limit:
            self.refusal = create_size_problem(self.limit)
            raise self.refusal
        return message

    def _count_bytes(self, message: Message) -> None:
        self.byte_count += len(message.get("body", b""))
        self.is_complete = message["type"] != "http.request" or not message.get("more_body", False)

    async def drain(self) -> None:
        """Read and discard the rest for a while, so that a client still sending receives the response."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.is_complete and self.byte_count <= 2 * self.limit:
                    self._count_bytes(await self._receive())


def create_size_problem(limit: int) -> Problem:
    """The refusal of a body above `limit` bytes."""
    return Problem(413, "too_large", f"more than {limit / 2**20:g} MiB")
