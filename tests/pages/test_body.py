"""Bodies that are too large or too slow."""

import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.pages.servers import code


def chunks(count: int, size: int = 16384):
    for _ in range(count):
        yield b"x" * size


@pytest.mark.parametrize("path", ["echo", "form"])
def test_large_bodies_are_refused_while_they_stream(plain, path):
    headers = {"Content-Type": "multipart/form-data; boundary=b"} if path == "form" else {}
    prefix = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'

    def body():
        yield prefix if path == "form" else b""
        yield from chunks(5)

    response = httpx.post(plain + path, content=body(), headers=headers)
    assert response.status_code == 413
    assert code(response) == "too_large"
    announced = httpx.post(plain + path, content=b"x" * 65537, headers=headers)
    assert announced.status_code == 413
    if path == "echo":
        assert httpx.post(plain + path, content=chunks(4)).json() == {"bytes": 65536}


def test_slow_bodies_are_given_up(plain):
    address = urlsplit(plain)
    with socket.create_connection((address.hostname, address.port), timeout=15) as visitor:
        visitor.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab")
        start = time.monotonic()
        answer = visitor.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < 8
