"""The archive that the node sends to: `AET@host:port` (C-STORE) or the root of a DICOMweb service (STOW-RS)."""

from __future__ import annotations

import io
import ssl
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medprior.deploy.node.settings import is_ae_title
from medprior.errors import ConfigError, InputMissing
from medprior.ingest.archive.credentials import LOOPBACK_HOSTS, VARIABLES, load_archive_credentials

CONNECT_SECONDS, ANSWER_SECONDS = 10, 60
OUT_OF_RESOURCES = range(0xA700, 0xA800)
WARNINGS = range(0xB000, 0xC000)
EXPECTED_FORM = "AET@host:port or https://host/dicom-web"


class Delivery(Enum):
    """What became of one object: the archive has it, does not want it, or cannot be reached."""

    SENT = "sent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


class Destination(Protocol):
    """An archive."""

    def send(self, content: bytes) -> tuple[Delivery, str]:
        """Send one DICOM file; returns what became of it, and a word or status for the log."""
        ...


@dataclass(frozen=True)
class DimseDestination:
    """An archive that takes C-STORE.

    Attributes:
        aet: AE title of the archive.
        host: its address.
        port: its port.
        calling: AE title of this node.
        tls: context of a TLS connection, or None.
    """

    aet: str
    host: str
    port: int
    calling: str
    tls: ssl.SSLContext | None = None

    def send(self, content: bytes) -> tuple[Delivery, str]:
        """Send one DICOM file over an association of its own."""
        from pynetdicom import AE

        dataset = dcmread(io.BytesIO(content))
        entity = AE(self.calling)
        entity.connection_timeout = CONNECT_SECONDS
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_SECONDS
        entity.add_requested_context(dataset.SOPClassUID, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        tls = (self.tls, self.host) if self.tls else None
        association = entity.associate(self.host, self.port, ae_title=self.aet, tls_args=tls)
        if not association.is_established:
            is_context = association.is_rejected is False and bool(association.rejected_contexts)
            return (Delivery.REFUSED, "no_context") if is_context else (Delivery.UNREACHABLE, "no_association")
        try:
            status = association.send_c_store(dataset).get("Status")
        except ValueError:
            return Delivery.REFUSED, "no_context"
        finally:
            if association.is_established:
                association.release()
        return classify_status(status)


def classify_status(status: int | None) -> tuple[Delivery, str]:
    """What the status of a C-STORE response means (PS3.4 B.2.3); None where no response came."""
    if status is None:
        return Delivery.UNREACHABLE, "no_response"
    word = f"{status:04x}"
    if status == 0 or status in WARNINGS:
        return Delivery.SENT, word
    return (Delivery.UNREACHABLE if status in OUT_OF_RESOURCES else Delivery.REFUSED), word


@dataclass(frozen=True)
class WebDestination:
    """An archive that takes STOW-RS.

    Attributes:
        url: root of the service.
        token: bearer token, or empty.
        user: name and password, or None.
    """

    url: str
    token: str = field(default="", repr=False)
    user: tuple[str, str] | None = field(default=None, repr=False)

    def send(self, content: bytes) -> tuple[Delivery, str]:
        """Send one DICOM file as one store request."""
        import requests
        from dicomweb_client.api import DICOMwebClient

        with requests.Session() as session:
            session.auth = self.user
            if self.token:
                session.headers["Authorization"] = f"Bearer {self.token}"
            client = DICOMwebClient(self.url, session=session)
            client.set_http_retry_params(retry=False)
            try:
                answer = client.store_instances([dcmread(io.BytesIO(content))])
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                refused = status in {400, 409, 413, 415, 422}
                return (Delivery.REFUSED if refused else Delivery.UNREACHABLE), f"http_{status}"
            except (requests.RequestException, OSError) as error:
                return Delivery.UNREACHABLE, type(error).__name__
        if answer.get("FailedSOPSequence"):
            return classify_status(int(answer.FailedSOPSequence[0].get("FailureReason", 0x0110)))
        return Delivery.SENT, "ok"


def parse_destination(text: str, calling: str, tls: ssl.SSLContext | None = None) -> DimseDestination | WebDestination:
    """Parse `--send-to`; credentials are those of `load_archive_credentials`, never of the address.

    Args:
        text: `AET@host:port`, or the root of a DICOMweb service.
        calling: AE title of this node.
        tls: context of C-STORE over TLS, or None.

    Raises:
        ConfigError: neither form, an address with credentials, or credentials without TLS to another machine.
    """
    if text.startswith(("http://", "https://")):
        return parse_web_destination(text)
    title, separator, address = text.rpartition("@")
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not (separator and host and is_ae_title(title) and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError("no address of an archive", where="--send-to", expected=EXPECTED_FORM, found=repr(text))
    return DimseDestination(title, host, int(port), calling, tls)


def load_authorities(path: Path, where: str) -> ssl.SSLContext:
    """A TLS context that trusts the authorities in a file.

    Raises:
        InputMissing: the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=path)
    except OSError:
        raise InputMissing("the authorities cannot be read", where=where, found=str(path)) from None


def parse_web_destination(text: str) -> WebDestination:
    """`parse_destination` of a URL."""
    url = urlsplit(text)
    if "@" in url.netloc or url.query or url.fragment or not url.hostname:
        message = "an address must hold neither credentials nor a query"
        fix = f"set {VARIABLES['user']} and {VARIABLES['password']}, or {VARIABLES['token']}"
        raise ConfigError(message, where="--send-to", expected=EXPECTED_FORM, fix=fix)
    if url.scheme == "http" and url.hostname not in LOOPBACK_HOSTS:
        raise ConfigError(
            "patient data would travel unencrypted", where="--send-to", expected="https://", found="http://"
        )
    credentials = load_archive_credentials()
    user = (credentials.user, credentials.password.get_secret_value()) if credentials.user else None
    return WebDestination(text.rstrip("/"), credentials.token.get_secret_value(), user)
