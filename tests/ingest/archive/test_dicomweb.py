"""Faults of the web: busy, cut, silent, moved and untrusted services, over real sockets."""

import logging
import ssl
import subprocess
import time
import tracemalloc

import pytest
import requests

from medprior.dicom import Policy
from medprior.errors import ConfigError, InputMissing, MedpriorError, Rejected
from medprior.ingest.archive import dicomweb
from medprior.ingest.archive.dicomweb import read_attributes
from medprior.ingest.archive.store import ArchiveStore
from tests.ingest.archive.web_service import WebService

INSTANCE = "1.2.0/1.3/1.4.dcm"
CONTENT = bytes(range(256)) * 4000
SECRET = "hidden7"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(dicomweb, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr("medprior.ingest.archive.store.RETRY_SECONDS", (0.01, 0.01))
    monkeypatch.setattr("medprior.ingest.archive.listing.SEARCHED_MODALITIES", ("DX",))


@pytest.fixture
def service():
    with WebService(CONTENT) as running:
        yield running


@pytest.fixture
def store(service):
    return ArchiveStore(f"dicomweb+http://127.0.0.1:{service.port}/dicom-web")


def fetch(store, folder, policy=None):
    target = folder / "x"
    target.unlink(missing_ok=True)
    store.fetch(store.url(INSTANCE), target, policy or Policy())
    return target.read_bytes()


def test_pages_end_where_a_service_ignores_the_offset(store, service):
    assert sorted(store.entries()) == [f"1.2.{number}/1.3/1.4.dcm" for number in range(3)]
    assert sum(path.startswith("/dicom-web/studies?") for path, _ in service.requests) == 2


def test_every_form_of_an_instance_is_read(store, service, tmp_path):
    assert fetch(store, tmp_path) == CONTENT
    service.faults = [{"plain": True}]
    assert fetch(store, tmp_path) == CONTENT
    service.faults = [{"status": 406}]
    assert fetch(store, tmp_path) == CONTENT
    accepted = [headers["Accept"] for _, headers in service.requests]
    assert accepted == [dicomweb.ANY_SYNTAX] * 3 + [dicomweb.DEFAULT_SYNTAX]


@pytest.mark.parametrize("fault", [{"cut": 500}, {"cut": 900_000}, {"cut": 40}, {"cut": 900_000, "missing": 5000}])
def test_a_cut_instance_is_fetched_again(store, service, tmp_path, fault):
    service.faults = [fault]
    assert fetch(store, tmp_path) == CONTENT
    service.faults = [fault] * 3
    with pytest.raises(Rejected, match="does not send the instance whole"):
        fetch(store, tmp_path)
    assert len(service.requests) == 2 + 3


def test_retry_after_is_waited_for_and_bounded(store, service, tmp_path, monkeypatch):
    service.faults = [{"status": 503, "headers": {"Retry-After": "1"}}, {"status": 429}]
    start = time.monotonic()
    assert fetch(store, tmp_path) == CONTENT
    assert time.monotonic() - start >= 1
    monkeypatch.setattr(dicomweb, "MAX_RETRY_AFTER_SECONDS", 0.1)
    service.faults = [{"status": 503, "headers": {"Retry-After": "86400"}}]
    assert fetch(store, tmp_path) == CONTENT


def test_a_service_that_stays_busy_ends_the_run(store, service, tmp_path):
    service.faults = [{"status": 503}] * 20
    with pytest.raises(MedpriorError, match=r"does not answer \(HTTP 503\).*images read so far are kept"):
        fetch(store, tmp_path)
    assert len(service.requests) == dicomweb.RETRIES + 1


@pytest.mark.parametrize(
    ("statuses", "words"),
    [([404], "the instance is gone"), ([403], "is forbidden"), ([500], "cannot send the instance")],
)
def test_one_instance_that_cannot_be_had_is_refused_alone(store, service, tmp_path, statuses, words):
    service.faults = [{"status": status} for status in statuses]
    with pytest.raises(Rejected, match=words):
        fetch(store, tmp_path)


@pytest.mark.parametrize("status", [401, 403])
def test_lost_rights_end_the_run(store, service, tmp_path, status):
    service.faults = [{"status": status}] * 4
    with pytest.raises(MedpriorError, match=rf"refuses access \(HTTP {status}\)") as raised:
        fetch(store, tmp_path)
    assert not isinstance(raised.value, Rejected)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"page": True}, InputMissing, "no DICOMweb service at this path.*'/dicom-web'"),
        ({"status": 404}, InputMissing, "no DICOMweb service at this path"),
        ({"status": 405}, InputMissing, "no DICOMweb service at this path"),
        ({"status": 400}, ConfigError, "does not understand the attributes"),
        ({"status": 403}, MedpriorError, "refuses access"),
    ],
)
def test_a_search_that_fails_is_explained(store, service, fault, kind, words):
    service.faults = [fault]
    with pytest.raises(kind, match=words) as raised:
        store.entries()
    assert "\n" not in str(raised.value)


def test_a_page_instead_of_an_instance_is_no_instance(store, service, tmp_path):
    service.faults = [{"page": True}]
    with pytest.raises(InputMissing, match="no DICOMweb service"):
        fetch(store, tmp_path)


def test_memory_stays_below_the_size_of_an_instance(tmp_path):
    with WebService(bytes(64 * 2**20)) as service:
        url = f"http://127.0.0.1:{service.port}/dicom-web/studies/1/series/1/instances/1"
        tracemalloc.start()
        try:
            with requests.get(url, stream=True) as response, open(tmp_path / "x", "wb") as file:
                # The server, in this process too, has built its answer by now.
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                dicomweb.write_instance(response, file, Policy())
            growth = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
    assert (tmp_path / "x").stat().st_size == 64 * 2**20
    assert growth < 16 * 2**20


def test_logs_quote_no_attribute(service, caplog):
    store = ArchiveStore(f"dicomweb+http://127.0.0.1:{service.port}/dicom-web?PatientID={SECRET}")
    caplog.set_level(logging.DEBUG)
    service.faults = [{"status": 503}]
    store.entries()
    assert SECRET in service.requests[0][0]
    assert SECRET not in caplog.text


def test_a_token_is_sent_and_never_said(service, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_TOKEN", SECRET)
    store = ArchiveStore(f"dicomweb+http://127.0.0.1:{service.port}/dicom-web")
    assert fetch(store, tmp_path) == CONTENT
    assert service.requests[0][1]["Authorization"] == f"Bearer {SECRET}"
    service.faults = [{"status": 401}] * 4
    with pytest.raises(MedpriorError) as raised:
        fetch(store, tmp_path)
    assert SECRET not in str(raised.value)


def test_a_warning_says_where_credentials_travel_unencrypted(monkeypatch, capfd):
    monkeypatch.setenv("MEDPRIOR_ARCHIVE_TOKEN", SECRET)
    ArchiveStore("dicomweb+http://archive.invalid/dicom-web")
    assert "credentials travel unencrypted" in capfd.readouterr().err
    ArchiveStore("dicomweb+https://archive.invalid/dicom-web")
    assert capfd.readouterr().err == ""


@pytest.fixture
def certificate(tmp_path):
    """A self-signed certificate of 127.0.0.1, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    except FileNotFoundError:
        pytest.skip("no openssl")
    return certificate, key


def test_certificates_are_verified(certificate, monkeypatch, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with WebService(CONTENT, context) as service:
        url = f"dicomweb+https://127.0.0.1:{service.port}/dicom-web"
        with pytest.raises(MedpriorError, match=r"TLS certificate is not trusted.*REQUESTS_CA_BUNDLE"):
            ArchiveStore(url).entries()
        assert service.requests == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        assert fetch(ArchiveStore(url), tmp_path) == CONTENT


def test_a_port_without_a_service_is_said(service):
    url = f"dicomweb+http://127.0.0.1:{service.port}/dicom-web"
    service.__exit__()
    with pytest.raises(MedpriorError, match=r"the archive does not answer.*'127.0.0.1'"):
        ArchiveStore(url).entries()


@pytest.mark.parametrize("match", ["text", {"0020000D": "1.2"}, {"0020000D": {"Value": "1.2"}}])
def test_json_that_is_no_dicom_is_refused(match):
    with pytest.raises(ValueError):
        read_attributes(match, {"StudyInstanceUID": ""})
