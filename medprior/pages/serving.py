"""Serve an application until SIGTERM or SIGINT, with header timeouts and a graceful shutdown."""

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
    """Closes connections whose request header does not arrive in time."""

    header_seconds = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the header timeout."""
        super().connection_made(transport)
        self.loop.call_later(self.header_seconds, self._close_if_idle, None)

    def _close_if_idle(self, previous_cycle: object) -> None:
        if self.transport.is_closing():
            return
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is previous_cycle:
            self.transport.close()
            return
        self.loop.call_later(self.header_seconds, self._close_if_idle, self.cycle)


class GracefulServer(uvicorn.Server):
    """Stops on SIGTERM and SIGINT after answering the running requests, and then returns."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving; unlike uvicorn's method, does not raise them again afterwards."""
        signals = (signal.SIGINT, signal.SIGTERM)
        old_handlers = {number: signal.signal(number, self.handle_exit) for number in signals}
        try:
            yield
        finally:
            for number, handler in old_handlers.items():
                signal.signal(number, handler)


def open_listener(access: AccessSettings) -> socket.socket:
    """A bound socket for `access`.

    Raises:
        MedpriorError: the access settings are unsafe, the port is in use or not allowed, or the
            address does not exist.
    """
    access.require_safe()
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((access.host, access.port))
    except OSError as error:
        listener.close()
        is_in_use = error.errno == errno.EADDRINUSE
        raise MedpriorError(
            "the port is in use" if is_in_use else f"cannot listen there ({error.strerror})",
            where=f"{access.host}:{access.port}",
            fix="choose another --port" if is_in_use else "check --host and --port",
        ) from None
    return listener


def serve_app(
    app: ASGIApp, access: AccessSettings, listener: socket.socket, started: Callable[[str], None] = print
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        app: the ASGI application.
        access: who may reach it.
        listener: from `open_listener`.
        started: called with the address, without its token, once connections are accepted.
    """
    log_to_stderr()
    settings: dict[str, Any] = {
        "http": type("Protocol", (HeaderTimeoutProtocol,), {"header_seconds": access.header_seconds}),
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        # uvicorn refuses a request where this many connections are open, its own among them.
        "limit_concurrency": access.max_connections + 1,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
    }
    server = GracefulServer(uvicorn.Config(app, **settings))
    url = access.bare_url(listener.getsockname()[1])
    asyncio.run(serve_and_announce(server, listener, lambda: started(url)))


async def serve_and_announce(server: uvicorn.Server, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve on `listener` until the end; `on_start` is called once it accepts connections."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.02)
    if server.started:
        on_start()
    await serving


def log_to_stderr() -> None:
    """Log medprior's messages to stderr, and uvicorn's only from level ERROR."""
    logger = logging.getLogger("medprior")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)  # its messages quote the body
