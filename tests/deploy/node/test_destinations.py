"""Where the node sends: addresses, and what an answer means."""

import pytest

from medprior.deploy.node.destinations import (
    Delivery,
    DimseDestination,
    WebDestination,
    classify_status,
    parse_destination,
)
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
        (0xA900, Delivery.REFUSED),
        (0xC000, Delivery.REFUSED),
        (0x0122, Delivery.REFUSED),
        (None, Delivery.UNREACHABLE),
    ],
)
def test_a_status_means_sent_refused_or_later(status, outcome):
    assert classify_status(status)[0] is outcome
