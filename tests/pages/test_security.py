"""Strangers at the door, over real sockets."""

import gzip
import http.client
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import Request

from medprior.pages.access import AccessSettings
from medprior.pages.problem import Problem
from medprior.pages.security import (
    access_cookie,
    authenticate_request,
    check_content_length,
    is_same_secret,
    parse_host_name,
)
from tests.pages.servers import TOKEN, code


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


def test_a_lying_length_is_no_fault_of_ours(plain):
    address = urlsplit(plain)
    for length in ("-1", "9" * 30, "1e9", "0x10"):
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        connection.putrequest("POST", "/echo")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status in {400, 413}
        connection.close()


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


def request_of(path="/", query=b"", scheme="http", method="GET", **headers):
    headers = {"host": "127.0.0.1:80", **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({
        "type": "http", "method": method, "path": path, "query_string": query, "scheme": scheme,
        "server": ("127.0.0.1", 80), "headers": pairs,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("host", "name"),
    [("a.example:80", "a.example"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", ""), (":80", "")],
)
def test_a_host_name_has_no_port(host, name):
    assert parse_host_name(host) == name


@pytest.mark.parametrize(
    ("length", "fits"), [("10", True), ("11", False), ("9" * 40, False), ("-1", True), ("1e9", True), (None, True)]
)
def test_a_length_above_the_limit_is_refused_before_the_body(length, fits):
    request = request_of(**({} if length is None else {"content_length": length}))
    if fits:
        check_content_length(request, 10)
    else:
        with pytest.raises(Problem, match="413"):
            check_content_length(request, 10)


def test_the_cookie_is_secure_under_https_and_set_for_the_token_only():
    access = AccessSettings(token=TOKEN)
    name, value = access_cookie(access)
    query = f"token={TOKEN}".encode()
    assert authenticate_request(request_of(query=query), access) == f"{name}={value}; Path=/; HttpOnly; SameSite=Strict"
    assert authenticate_request(request_of(query=query, scheme="https"), access).endswith("; Secure")
    assert authenticate_request(request_of(cookie=f"{name}={value}"), access) is None
    assert authenticate_request(request_of("/ready"), access) is None
    assert authenticate_request(request_of(authorization=f"bearer  {TOKEN} "), access) is None
    for headers in ({}, {"cookie": f"{name}={TOKEN}"}, {"cookie": f"other={value}"}):
        with pytest.raises(Problem, match="401"):
            authenticate_request(request_of(**headers), access)


def test_one_header_of_a_trusted_proxy_makes_the_cookie_secure_and_no_other_does():
    query = f"token={TOKEN}".encode()
    trusting, wary = AccessSettings(token=TOKEN, trust_forwarded_proto=True), AccessSettings(token=TOKEN)
    https = {"query": query, "x_forwarded_proto": "https"}
    assert authenticate_request(request_of(**https), trusting).endswith("; Secure")
    assert not authenticate_request(request_of(**https), wary).endswith("; Secure")
    for value in ("http", "https, http", "http, https", "HTTPS://"):
        forged = {"query": query, "x_forwarded_proto": value, "scheme": "https"}
        assert not authenticate_request(request_of(**forged), trusting).endswith("; Secure")
    assert not authenticate_request(request_of(query=query, forwarded="proto=https"), trusting).endswith("; Secure")


def test_cookies_of_two_tokens_have_different_names():
    first, second = (access_cookie(AccessSettings(token=letter * 16)) for letter in "ab")
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert len(first[0]) == len("medprior_") + 12


def test_reading_needs_no_origin_and_writing_none_of_another_site():
    access = AccessSettings()
    foreign = {"origin": "http://evil.example", "sec_fetch_site": "cross-site"}
    assert authenticate_request(request_of(**foreign), access) is None
    with pytest.raises(Problem, match="403"):
        authenticate_request(request_of(method="POST", **foreign), access)
    own = {"origin": "http://127.0.0.1:80", "sec_fetch_site": "same-origin"}
    assert authenticate_request(request_of(method="POST", **own), access) is None


def test_secrets_are_equal_character_by_character():
    assert is_same_secret("geheim-ä", "geheim-ä")
    assert not is_same_secret("geheim-ä", "geheim-a")
    assert not is_same_secret("", "x")


@pytest.mark.parametrize("path", ["health", "shared/palette.css", "openapi.json"])
def test_head_has_the_headers_of_get_without_its_content(plain, path):
    get, head = httpx.get(plain + path), httpx.head(plain + path)
    assert (head.status_code, head.content) == (200, b"")
    assert {name: value for name, value in head.headers.items() if name != "date"} == {
        name: value for name, value in get.headers.items() if name != "date"
    }
    # The connection is still in step: the next answer is that of the next request.
    with httpx.Client() as client:
        assert client.head(plain + path).status_code == 200
        assert client.get(plain + path).content == get.content


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("health", "GET, HEAD, OPTIONS"), ("echo", "OPTIONS, POST"), ("vendor/x.js", "GET, HEAD, OPTIONS")],
)
def test_options_names_the_methods_and_others_are_refused_with_them(plain, path, allowed):
    response = httpx.options(plain + path)
    assert (response.status_code, response.headers["allow"], response.content) == (204, allowed, b"")
    assert not [name for name in response.headers if name.startswith("access-control-")]
    refused = httpx.delete(plain + path)
    assert (refused.status_code, refused.headers["allow"], code(refused)) == (405, allowed, "method_not_allowed")
    assert httpx.head(plain + "echo").status_code == 405
    assert httpx.options(plain + "nowhere").status_code == 404


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_no_method_passes_without_the_token(locked, method):
    assert httpx.request(method, locked + "number?n=1").status_code == 401
    assert httpx.request(method, locked + "number?n=1", headers={"Authorization": f"Bearer {TOKEN}"}).is_success


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_compressed_bodies_are_refused_by_name(plain, encoding):
    response = httpx.post(plain + "echo", content=gzip.compress(b"x" * 100), headers={"Content-Encoding": encoding})
    assert (response.status_code, code(response)) == (415, "content_encoding")
    assert response.headers["accept-encoding"] == "identity"
    whole = httpx.post(plain + "echo", content=b"xyz", headers={"Content-Encoding": "identity"})
    assert whole.json() == {"bytes": 3}
