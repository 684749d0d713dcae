"""Bodies that are too large or too slow."""

import asyncio
import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from medprior.pages.access import AccessSettings
from medprior.pages.body import BoundedBody, create_size_problem
from medprior.pages.problem import Problem
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


def requests_of(*sizes, more_at_the_end=False):
    """An ASGI `receive` of one message for each size, then a disconnect."""
    messages = [
        {"type": "http.request", "body": b"x" * size, "more_body": more_at_the_end or number < len(sizes)}
        for number, size in enumerate(sizes, start=1)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive():
        return messages.pop(0)

    return receive, messages


def test_the_limit_counts_all_messages_and_is_itself_allowed():
    async def read(*sizes):
        body = BoundedBody(requests_of(*sizes)[0], 10, 5)
        for _ in sizes:
            await body.receive()
        return body

    body = asyncio.run(read(4, 6))
    assert (body.byte_count, body.is_complete, body.refusal) == (10, True, None)
    with pytest.raises(Problem) as caught:
        asyncio.run(read(4, 6, 1))
    assert (caught.value.status_code, caught.value.code) == (413, "too_large")


def test_after_the_body_messages_pass_without_a_deadline():
    async def read():
        body = BoundedBody(requests_of(3)[0], 10, 0.02)
        first = await body.receive()
        await asyncio.sleep(0.03)
        return first["type"], (await body.receive())["type"], body.byte_count

    assert asyncio.run(read()) == ("http.request", "http.disconnect", 3)


def test_a_body_past_its_deadline_is_given_up():
    async def read():
        async def never():
            await asyncio.sleep(9)

        body = BoundedBody(never, 10, 0.02)
        with pytest.raises(Problem) as caught:
            await body.receive()
        return caught.value, body.refusal

    problem, refusal = asyncio.run(read())
    assert problem is refusal
    assert (problem.status_code, problem.code) == (408, "slow_body")


@pytest.mark.parametrize(("sizes", "left"), [((5, 5, 5, 5, 5, 5), 2), ((5, 16, 5), 2), ((5,), 1)])
def test_the_rest_is_read_up_to_twice_the_limit(sizes, left):
    async def drain():
        receive, messages = requests_of(*sizes, more_at_the_end=len(sizes) > 1)
        body = BoundedBody(receive, 10, 5)
        await body.drain()
        return len(messages)

    assert asyncio.run(drain()) == left


def test_the_limit_is_told_in_mebibytes():
    assert AccessSettings().max_bytes == 67_108_864
    assert create_size_problem(65536).detail == "more than 0.0625 MiB"
    assert create_size_problem(64 * 2**20).detail == "more than 64 MiB"
