"""The body of a request, counted and timed while it arrives."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive

from medprior.pages.problem import Problem

LINGER_SECONDS = 5.0


class BoundedBody:
    """Hands on what arrives until it is too much or too late.

    Args:
        receive: the server's.
        limit: bytes.
        seconds: from now until the last byte.
    """

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self.limit = receive, limit
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.count = 0
        self.over = False
        self.refusal: Problem | None = None

    async def receive(self) -> Message:
        """The next message.

        Raises:
            Problem: 413 for more than `limit` bytes, 408 when the time is up.
        """
        if self.over:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError:
            self.refusal = Problem(408, "slow_body", "the request took too long to arrive")
            raise self.refusal from None
        self._note(message)
        if self.count > self.limit:
            self.refusal = create_size_problem(self.limit)
            raise self.refusal
        return message

    def _note(self, message: Message) -> None:
        self.count += len(message.get("body", b""))
        self.over = message["type"] != "http.request" or not message.get("more_body", False)

    async def drain(self) -> None:
        """Read on for a while and forget, so that a visitor still sending can hear the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.over and self.count <= 2 * self.limit:
                    self._note(await self._receive())


def create_size_problem(limit: int) -> Problem:
    """The refusal of a body above `limit` bytes."""
    return Problem(413, "too_large", f"more than {limit / 2**20:g} MiB")
