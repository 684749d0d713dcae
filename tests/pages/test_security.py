"""Strangers at the door, over real sockets."""

import http.client
import json
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings, read_token
from tests.pages.conftest import TOKEN, running


def code(response: httpx.Response) -> str:
    assert set(response.json()) == {"code", "message"}
    return response.json()["code"]


def test_every_answer_is_hardened(plain):
    for path in ("/health", "/nowhere", "/vendor/openseadragon/openseadragon.min.js", "/bug"):
        response = httpx.get(plain + path.lstrip("/"))
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "server" not in response.headers


def test_errors_are_json_without_what_was_sent(plain):
    missing = httpx.get(plain + "nowhere/DOE")
    assert missing.status_code == 404
    assert code(missing) == "not_found"
    wrong = httpx.get(plain + "number", params={"n": "DOE^JOHN"})
    assert wrong.status_code == 422
    assert code(wrong) == "invalid_request"
    assert "DOE" not in wrong.text
    assert httpx.delete(plain + "health").status_code == 405


def test_a_bug_of_ours_says_nothing():
    with running() as (url, process):
        response = httpx.get(url + "bug")
        assert response.status_code == 500
        assert code(response) == "internal"
        assert "DOE" not in response.text
        httpx.get(url + "secret-path-of-DOE")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        assert "unforeseen ValueError" in log
        assert "DOE" not in log
        assert "Traceback" not in log


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "169.254.169.254", "", "a b"])
def test_unknown_host_names_are_refused(plain, host):
    response = httpx.get(plain + "health", headers={"Host": host})
    assert response.status_code == 400


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "LOCALHOST:99", "[::1]:80"])
def test_own_names_pass(plain, host):
    assert httpx.get(plain + "health", headers={"Host": host}).status_code == 200


def test_other_sites_cannot_post(plain):
    own = plain.rstrip("/")
    for headers in (
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ):  # fmt: skip
        response = httpx.post(plain + "echo", content=b"x", headers=headers)
        assert response.status_code == 403, headers
        assert code(response) == "cross_origin"
    headers = {"Origin": own, "Sec-Fetch-Site": "same-origin"}
    assert httpx.post(plain + "echo", content=b"x", headers=headers).json() == {"bytes": 1}


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


def test_a_lying_length_is_no_fault_of_ours(plain):
    address = urlsplit(plain)
    for length in ("-1", "9" * 30, "1e9", "0x10"):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        connection.putrequest("POST", "/echo")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status in {400, 413}
        connection.close()


def test_slow_bodies_are_given_up(plain):
    address = urlsplit(plain)
    with socket.create_connection((address.hostname, address.port), timeout=15) as visitor:
        visitor.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab")
        start = time.monotonic()
        answer = visitor.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - start < 8


def test_silent_connections_are_closed(plain):
    address = urlsplit(plain)
    with socket.create_connection((address.hostname, address.port), timeout=30) as visitor:
        visitor.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        start = time.monotonic()
        assert visitor.recv(100) == b""
        assert time.monotonic() - start < 8


def test_the_token_opens_in_three_ways(locked):
    assert httpx.get(locked + "health").status_code == 200
    refused = httpx.get(locked + "number?n=1")
    assert refused.status_code == 401
    assert code(refused) == "token"
    for wrong in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
        headers = {"Authorization": wrong}
        assert httpx.get(locked + "number?n=1", headers=headers).status_code == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(locked + "number?n=1", headers=right).status_code == 200
    assert httpx.get(locked + "number", params={"n": 1, "token": "wrong"}).status_code == 401
    with httpx.Client() as visitor:
        first = visitor.get(locked + "number", params={"n": 1, "token": TOKEN})
        cookie = first.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert visitor.get(locked + "number?n=2").status_code == 200
    name = cookie.partition("=")[0]
    assert httpx.get(locked + "number?n=1", cookies={name: "0" * 64}).status_code == 401
    assert httpx.get(locked + "openapi.json").status_code == 401


def test_names_given_are_served(locked):
    assert httpx.get(locked + "health", headers={"Host": "reading.example:1"}).status_code == 200
    assert httpx.get(locked + "health", headers={"Host": "reading.example.evil"}).status_code == 400


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


def test_unsafe_doors_do_not_open(tmp_path):
    with pytest.raises(MedpriorError, match="without a token"):
        AccessSettings(host="0.0.0.0").require_safe()
    with pytest.raises(MedpriorError, match="too easy"):
        AccessSettings(token="short").require_safe()
    assert AccessSettings(host="0.0.0.0", token=TOKEN).require_safe().allows_host("192.168.1.5")
    assert not AccessSettings(host="0.0.0.0", token=TOKEN).allows_host("evil.example")
    assert not AccessSettings().allows_host("192.168.1.5")
    assert TOKEN not in repr(AccessSettings(token=TOKEN))
    path = tmp_path / "token"
    with pytest.raises(MedpriorError, match="no token"):
        read_token(path)
    path.write_text(f"{TOKEN}\n")
    assert AccessSettings(token=read_token(path)).secret == TOKEN
    assert read_token(None) is None


def test_a_taken_port_is_said(plain):
    from medprior.pages.serving import open_listener

    port = urlsplit(plain).port
    with pytest.raises(MedpriorError, match="in use"):
        open_listener(AccessSettings(port=port))


def test_openapi_describes_the_routes(plain):
    described = json.loads(httpx.get(plain + "openapi.json").text)
    assert "/echo" in described["paths"]
