"""Connections, ports and the end of a server."""

import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings
from tests.pages.servers import running


def test_silent_connections_are_closed(plain):
    address = urlsplit(plain)
    with socket.create_connection((address.hostname, address.port), timeout=30) as visitor:
        visitor.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        start = time.monotonic()
        assert visitor.recv(100) == b""
        assert time.monotonic() - start < 8


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
