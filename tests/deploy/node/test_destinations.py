"""Where the node sends: addresses, and what an answer means."""

import base64
import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pynetdicom import AE, evt

from medprior.deploy.node.destinations import (
    Delivery,
    DimseDestination,
    WebDestination,
    classify_status,
    parse_destination,
)
from medprior.dicom.decoding.samples import create_sample_dataset, serialise_dataset
from medprior.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("PACS@10.0.0.1:104", DimseDestination("PACS", "10.0.0.1", 104, "ME")),
        ("PACS@[::1]:104", DimseDestination("PACS", "::1", 104, "ME")),
        ("https://host/dicom-web/", WebDestination("https://host/dicom-web")),
        ("http://127.0.0.1:8042/dicom-web", WebDestination("http://127.0.0.1:8042/dicom-web")),
    ],
)
def test_addresses(text, wanted, monkeypatch):
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MEDPRIOR_ARCHIVE_{name}", raising=False)
    assert parse_destination(text, "ME") == wanted


@pytest.mark.parametrize(
    "text",
    [
        "PACS", "PACS@host", "@host:104", "PACS@host:0", "PACS@host:65536", "PACS@host:x", "PACS@:104",
        "SEVENTEEN_LETTERS@host:104", "http://host/dicom-web", "https://me:secret@host/dicom-web",
        "https://host/dicom-web?token=secret", "https:///dicom-web",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_and_no_secret_is_quoted(text):
    with pytest.raises(ConfigError) as caught:
        parse_destination(text, "ME")
    assert "--send-to" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_credentials_come_from_the_environment_and_no_repr_shows_them(monkeypatch):
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_USER", "reader")
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_PASSWORD", "hunter2")
    monkeypatch.delenv("MEDPRIOR_ARCHIVE_TOKEN", raising=False)
    destination = parse_destination("https://host/dicom-web", "ME")
    assert destination.user == ("reader", "hunter2")
    assert "hunter2" not in repr(destination)


def test_credentials_come_from_a_private_file_as_in_ingest(monkeypatch, tmp_path):
    file = tmp_path / "archive.yaml"
    file.write_text("token: '123'\n")
    file.chmod(0o600)
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_CREDENTIALS", str(file))
    assert parse_destination("https://host/dicom-web", "ME").token == "123"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="open to other users"):
        parse_destination("https://host/dicom-web", "ME")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Delivery.SENT),
        (0xB000, Delivery.SENT),
        (0xB007, Delivery.SENT),
        (0xA700, Delivery.UNREACHABLE),
        (0xA7FF, Delivery.UNREACHABLE),
        (0xA6FF, Delivery.REFUSED),
        (0xA800, Delivery.REFUSED),
        (0xAFFF, Delivery.REFUSED),
        (0xBFFF, Delivery.SENT),
        (0x0001, Delivery.REFUSED),
        (0xA900, Delivery.REFUSED),
        (0xC000, Delivery.REFUSED),
        (0x0122, Delivery.REFUSED),
        (None, Delivery.UNREACHABLE),
    ],
)
def test_a_status_means_sent_refused_or_later(status, outcome):
    assert classify_status(status)[0] is outcome


def test_the_word_for_the_log_is_the_status_in_hexadecimal():
    assert [classify_status(status)[1] for status in (0, 0xA700, 0x122, None)] == [
        "0000",
        "a700",
        "0122",
        "no_response",
    ]


DX, CT = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def content():
    """A DICOM file of one radiograph."""
    dataset = create_sample_dataset(np.arange(64, dtype="u1").reshape(8, 8), 8)
    return serialise_dataset(dataset)


@contextlib.contextmanager
def answer_stores(status, answer=None):
    """A web server that answers every store request alike; its root, and the requests it had."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers.get("Authorization", ""), body))
            data = json.dumps(answer or {}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/dicom-web", requests
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(status, Delivery.REFUSED) for status in (400, 409, 413, 415, 422)]
    + [(status, Delivery.UNREACHABLE) for status in (401, 403, 404, 429, 500, 503)],
)
def test_an_answer_over_the_web_that_is_no_success(content, status, outcome):
    with answer_stores(status) as (url, requests):
        assert WebDestination(url).send(content) == (outcome, f"http_{status}")
    assert len(requests) == 1


def test_what_was_stored_over_the_web_and_what_was_not(content):
    with answer_stores(200) as (url, requests):
        assert WebDestination(url, token="secret").send(content) == (Delivery.SENT, "ok")
        WebDestination(url, user=("me", "word")).send(content)
    (path, bearer, body), (_, basic, _) = requests
    assert (path, bearer) == ("/dicom-web/studies", "Bearer secret")
    assert basic == "Basic " + base64.b64encode(b"me:word").decode()
    assert bytes(range(64)) in body
    for reason, outcome in ((0xA700, Delivery.UNREACHABLE), (0xA900, Delivery.REFUSED), (None, Delivery.REFUSED)):
        item = {} if reason is None else {"00081197": {"vr": "US", "Value": [reason]}}
        with answer_stores(202, {"00081198": {"vr": "SQ", "Value": [item]}}) as (url, _):
            assert WebDestination(url).send(content) == (outcome, f"{0x0110 if reason is None else reason:04x}")


def test_nobody_there_is_unreachable(content):
    with socket.socket() as held:  # bound but not listening: connections are refused
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert WebDestination(f"http://127.0.0.1:{port}").send(content) == (Delivery.UNREACHABLE, "ConnectionError")
        assert DimseDestination("PACS", "127.0.0.1", port, "ME").send(content) == (
            Delivery.UNREACHABLE, "no_association",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("sop_class", "aet", "status", "expected"),
    [
        (DX, "PACS", 0x0000, (Delivery.SENT, "0000")), (DX, "PACS", 0xA700, (Delivery.UNREACHABLE, "a700")),
        (DX, "PACS", 0xA900, (Delivery.REFUSED, "a900")), (CT, "PACS", 0x0000, (Delivery.REFUSED, "no_context")),
        (DX, "OTHER", 0x0000, (Delivery.UNREACHABLE, "no_association")),
    ],
)  # fmt: skip
def test_answers_of_an_archive(content, sop_class, aet, status, expected):
    """A receiver of one class of images, with one title and one answer."""
    entity, received = AE("PACS"), []
    entity.require_called_aet = True
    entity.add_supported_context(sop_class)

    def store(event):
        received.append(event.dataset.SOPInstanceUID)
        return status

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        destination = DimseDestination(aet, "127.0.0.1", server.server_address[1], "ME")
        assert destination.send(content) == expected
    finally:
        server.shutdown()
    assert len(received) == (expected[1] in {"0000", "a700", "a900"})
