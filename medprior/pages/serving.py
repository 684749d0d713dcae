"""Run an application until it is told to stop: own socket, punctual visitors, a graceful end."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings

KEEP_ALIVE_SECONDS = 5
SHUTDOWN_SECONDS = 30


class HeaderTimeoutProtocol(H11Protocol):
    """Closes connections that take too long to say what they want."""

    header_seconds = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to watch."""
        super().connection_made(transport)
        self.loop.call_later(self.header_seconds, self._watch, None)

    def _watch(self, before: object) -> None:
        if self.transport.is_closing():
            return
        waiting = self.cycle is None or self.cycle.response_complete
        if waiting and self.cycle is before:
            self.transport.close()
            return
        self.loop.call_later(self.header_seconds, self._watch, self.cycle)


class GracefulServer(uvicorn.Server):
    """Stops on SIGTERM and SIGINT after the requests in work are answered, and then returns."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving; unlike uvicorn's, does not die of them afterwards."""
        wanted = (signal.SIGINT, signal.SIGTERM)
        before = {item: signal.signal(item, self.handle_exit) for item in wanted}
        try:
            yield
        finally:
            for item, handler in before.items():
                signal.signal(item, handler)


def open_listener(access: AccessSettings) -> socket.socket:
    """A bound socket for `access`.

    Raises:
        MedpriorError: not safe to open, the port is taken or not allowed, or no such address.
    """
    access.safe()
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((access.host, access.port))
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        raise MedpriorError(
            "the port is in use" if taken else f"cannot listen there ({error.strerror})",
            where=f"{access.host}:{access.port}",
            fix="choose another --port" if taken else "check --host and --port",
        ) from None
    return listener


def serve_app(
    app: ASGIApp, access: AccessSettings, listener: socket.socket, started: Callable[[str], None] = print
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        app: what answers.
        access: the door.
        listener: from `listening`.
        started: told the address as soon as visitors are let in.
    """
    log_to_stderr()
    settings: dict[str, Any] = {
        "http": type("Protocol", (HeaderTimeoutProtocol,), {"header_seconds": access.header_seconds}),
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
    }
    server = GracefulServer(uvicorn.Config(app, **settings))
    url = access.url(listener.getsockname()[1])
    asyncio.run(serve_and_announce(server, listener, lambda: started(url)))


async def serve_and_announce(server: uvicorn.Server, listener: socket.socket, tell: Callable[[], None]) -> None:
    """Serve on `listener` until the end; `tell` is called once it has started."""
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():
        await asyncio.sleep(0.02)
    if server.started:
        tell()
    await running


def log_to_stderr() -> None:
    """Our own lines to stderr; uvicorn's only where something is wrong."""
    logger = logging.getLogger("medprior")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)  # it quotes the body
