"""Settings that are safe to open with."""

import hashlib
import socket

import pytest

from medprior.errors import InputMissing, MedpriorError
from medprior.pages.access import AccessSettings, is_ip_address, read_token
from tests.pages.servers import TOKEN


def test_settings_are_safe_only_with_a_token_or_on_loopback(tmp_path):
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


@pytest.mark.parametrize(
    ("host", "token", "expected"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:81/"),
        ("0.0.0.0", "a/b&c d", "http://127.0.0.1:81/?token=a/b%26c%20d"),
        ("::", None, "http://127.0.0.1:81/"),
        ("::1", None, "http://[::1]:81/"),
        ("reading.example", None, "http://reading.example:81/"),
    ],
)
def test_the_address_to_open_is_one_that_a_browser_takes(host, token, expected):
    assert AccessSettings(host=host, token=token).url(81) == expected
    assert AccessSettings(host=host, token=token).bare_url(81) == expected.partition("?")[0]


@pytest.mark.parametrize(
    ("name", "local", "remote"),
    [
        ("localhost", True, True),
        ("LOCALHOST.", True, True),
        ("127.0.0.2", True, True),
        ("[::1]", True, True),
        ("10.0.0.7", False, True),
        ("Proxy.Example", True, True),
        ("example", False, False),
        ("proxy.example.evil", False, False),
        ("", False, False),
    ],
)
def test_names_and_addresses_that_requests_may_use(name, local, remote):
    assert AccessSettings(names=("proxy.EXAMPLE",)).allows_host(name) == local
    assert AccessSettings(host="0.0.0.0", names=("proxy.EXAMPLE",)).allows_host(name) == remote


def test_this_machines_name_is_served_to_other_machines_only():
    name = f"{socket.gethostname()}."
    assert AccessSettings(host="0.0.0.0").allows_host(name)
    assert not AccessSettings().allows_host(name)


def test_only_loopback_addresses_are_of_this_machine_itself():
    assert is_ip_address("::1", loopback=True)
    assert not is_ip_address("192.168.0.1", loopback=True)
    assert is_ip_address("[2001:db8::1]", loopback=False)
    assert not is_ip_address("127.0.0.1.nip.io", loopback=False)
    for host, is_loopback in (("localhost", True), ("127.9.9.9", True), ("::1", True), ("::", False), ("a", False)):
        assert AccessSettings(host=host).is_loopback == is_loopback


def test_a_token_has_sixteen_printable_characters():
    assert AccessSettings(token="x" * 16).require_safe().secret == "x" * 16
    for token in ("x" * 15, "x" * 15 + "\n", "\x07" * 20):
        with pytest.raises(MedpriorError, match="too easy"):
            AccessSettings(token=token).require_safe()
    assert AccessSettings(host="::1").require_safe().secret == ""


def test_keys_are_the_hmac_of_their_purpose():
    inner, outer = (bytes(byte ^ pad for byte in b"k" * 16 + bytes(48)) for pad in (0x36, 0x5C))
    expected = hashlib.sha256(outer + hashlib.sha256(inner + b"visitor").digest()).hexdigest()
    assert AccessSettings(token="k" * 16).derive_key("visitor") == expected


@pytest.mark.parametrize(
    ("text", "token"), [(" a b \nsecond", "a b"), ("only", "only"), ("\nsecond", None), ("", None)]
)
def test_the_token_is_the_first_line_of_its_file(tmp_path, text, token):
    (tmp_path / "token").write_text(text)
    if token is None:
        with pytest.raises(InputMissing, match="no token"):
            read_token(tmp_path / "token")
    else:
        assert read_token(tmp_path / "token").get_secret_value() == token
