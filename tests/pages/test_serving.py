"""Connections, ports and the end of a server."""

import logging
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings
from medprior.pages.serving import GracefulServer, log_to_stderr, open_listener
from tests.pages.servers import running


def test_silent_connections_are_closed(plain):
    address = urlsplit(plain)
    with socket.create_connection((address.hostname, address.port), timeout=30) as visitor:
        visitor.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        start = time.monotonic()
        assert visitor.recv(100) == b""
        assert time.monotonic() - start < 8


def test_more_connections_than_allowed_are_refused_and_the_server_goes_on():
    with running(max_connections=3, header_seconds=60) as (url, _):
        address = urlsplit(url)
        idle = [socket.create_connection((address.hostname, address.port), timeout=30) for _ in range(3)]
        time.sleep(0.5)
        assert httpx.get(url + "health").status_code == 503
        idle.pop().close()
        time.sleep(0.5)
        assert httpx.get(url + "health").status_code == 200
        for visitor in idle:
            visitor.close()


def test_sigterm_answers_what_is_in_work_and_ends_well():
    with running() as (url, process):
        answers = []
        visitor = threading.Thread(target=lambda: answers.append(httpx.get(url + "slow")))
        visitor.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(url + "health")
        visitor.join()
        assert answers[0].json() == {"slept": True}
        assert process.wait(timeout=20) == 0


def test_a_taken_port_is_said(plain):
    from medprior.pages.serving import open_listener

    port = urlsplit(plain).port
    with pytest.raises(MedpriorError, match="in use"):
        open_listener(AccessSettings(port=port))


def test_a_listener_is_bound_to_its_settings_only():
    with open_listener(AccessSettings(port=0)) as listener:
        address, port = listener.getsockname()
        assert (listener.family, address) == (socket.AF_INET, "127.0.0.1")
        assert port > 0
    with open_listener(AccessSettings(host="::1", port=0)) as listener:
        assert listener.family == socket.AF_INET6


def test_unsafe_or_foreign_addresses_are_not_bound():
    with pytest.raises(MedpriorError, match="without a token"):
        open_listener(AccessSettings(host="0.0.0.0", port=0))
    with pytest.raises(MedpriorError, match=r"cannot listen there .*check --host"):
        open_listener(AccessSettings(host="203.0.113.1", port=0, token="x" * 16))


def test_signals_end_the_server_and_have_their_old_handlers_afterwards():
    async def application(scope, receive, send):
        raise AssertionError

    server = GracefulServer(uvicorn.Config(application))
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with server.capture_signals():
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == server.handle_exit
        signal.raise_signal(signal.SIGTERM)
        assert server.should_exit
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def untouched_loggers():
    loggers = [logging.getLogger(name) for name in ("medprior", "uvicorn", "python_multipart")]
    levels, handlers = [logger.level for logger in loggers], list(loggers[0].handlers)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    loggers[0].handlers[:] = handlers


@pytest.mark.usefixtures("untouched_loggers")
def test_logging_is_set_up_once_and_quotes_no_body():
    logger = logging.getLogger("medprior")
    log_to_stderr()
    handlers = list(logger.handlers)
    log_to_stderr()
    assert logger.handlers == handlers
    assert logger.level == logging.INFO
    assert not logging.getLogger("python_multipart").isEnabledFor(logging.CRITICAL)
    assert not logging.getLogger("uvicorn").isEnabledFor(logging.WARNING)
