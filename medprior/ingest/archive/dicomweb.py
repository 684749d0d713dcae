"""Finds and retrieves instances over DICOMweb: QIDO-RS and WADO-RS (PS3.18 sections 10.6 and 10.4)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, BinaryIO, Self

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.datadict import tag_for_keyword
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, RequestException
from requests.exceptions import ConnectionError as RequestConnectionError
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError, SSLError
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from medprior.dicom import Policy
from medprior.dicom.file_opening import check_file_size
from medprior.errors import ConfigError, InputMissing, MedpriorError, Rejected
from medprior.ingest.archive.address import ArchiveAddress
from medprior.ingest.archive.credentials import CA_VARIABLE, LOOPBACK_HOSTS, ArchiveCredentials
from medprior.ingest.archive.listing import UIDS, Attributes, QueryLevel, TransferBroken

LEVELS: tuple[QueryLevel, ...] = ("STUDY", "SERIES", "IMAGE")
PAGE_MATCHES = 200
BLOCK_BYTES = 2**20
TIMEOUT_SECONDS = (10.0, 60.0)
RETRIES, BACKOFF_SECONDS, MAX_RETRY_AFTER_SECONDS = 6, 0.5, 300.0
BUSY_STATUSES = (408, 429, 502, 503, 504)
ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
DEFAULT_SYNTAX = 'multipart/related; type="application/dicom"'


class BearerToken(AuthBase):
    """Sends a token; unlike a header of the session it comes before what a `.netrc` file says.

    Args:
        token: the secret.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PatientRetry(Retry):
    """Waits as long as Retry-After says, within reason; a wrong name or certificate is not tried again."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Seconds that the archive asks to wait, or None."""
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, MAX_RETRY_AFTER_SECONDS)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """The retry after this one."""
        if isinstance(error, (NameResolutionError, SSLError)) and _pool is not None:
            raise MaxRetryError(_pool, url or "", error)
        return super().increment(method, url, response, error, _pool, _stacktrace)


class DicomwebConnection:
    """One DICOMweb service; connections are kept open and shared by threads.

    Args:
        address: of the service.
        credentials: sent with every request.
    """

    def __init__(self, address: ArchiveAddress, credentials: ArchiveCredentials) -> None:
        self._address = address
        self._session = create_session(address, credentials)
        self._url = address.root.removeprefix("dicomweb+")
        self._client = DICOMwebClient(self._url, self._session, timeout=TIMEOUT_SECONDS)
        # The session waits as Retry-After says, which the client does not.
        self._client.set_http_retry_params(retry=False)

    def find_matches(self, level: QueryLevel, keys: Mapping[str, str]) -> list[Attributes]:
        """Attributes of all matches, asked for page by page; see `listing.ArchiveConnection`."""
        parents = {name: keys[name] for name in UIDS[: LEVELS.index(level)]}
        query = {name: value for name, value in keys.items() if value and name not in parents}
        fields = [name for name, value in keys.items() if not value]
        attributes_by_uid: dict[str, Attributes] = {}
        offset = 0
        while True:
            with self._translate_errors():
                matches = self._search(level, list(parents.values()), fields, query, offset)
                page = [read_attributes(match, keys) for match in matches]
            known_count = len(attributes_by_uid)
            attributes_by_uid |= {attributes.get(UIDS[LEVELS.index(level)], ""): attributes for attributes in page}
            # A service may send smaller pages than asked for, and may ignore `offset`.
            if len(attributes_by_uid) == known_count:
                return list(attributes_by_uid.values())
            offset += len(page)

    def _search(
        self, level: QueryLevel, parents: list[str], fields: list[str], query: dict[str, str], offset: int
    ) -> list[dict[str, Any]]:
        arguments: dict[str, Any] = {"fields": fields, "search_filters": query, "limit": PAGE_MATCHES, "offset": offset}
        if level == "STUDY":
            return self._client.search_for_studies(**arguments)
        if level == "SERIES":
            return self._client.search_for_series(parents[0], **arguments)
        return self._client.search_for_instances(parents[0], parents[1], **arguments)

    def retrieve_instance(self, uids: tuple[str, str, str], file: BinaryIO, policy: Policy) -> None:
        """Write an instance block by block; see `listing.ArchiveConnection`."""
        url = "{}/studies/{}/series/{}/instances/{}".format(self._url, *uids)
        with self._translate_errors():
            for syntax in (ANY_SYNTAX, DEFAULT_SYNTAX):
                request = self._session.get(url, headers={"Accept": syntax}, stream=True, timeout=TIMEOUT_SECONDS)
                with request as response:
                    if response.status_code == HTTPStatus.NOT_ACCEPTABLE and syntax == ANY_SYNTAX:
                        continue
                    self._check_instance_status(response)
                    write_instance(response, file, policy)
                return

    def _check_instance_status(self, response: requests.Response) -> None:
        status = response.status_code
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            raise Rejected("unreadable", "the instance is gone")
        if status == HTTPStatus.FORBIDDEN and self._has_access():
            raise Rejected("unreadable", "access to the instance is forbidden")
        if status in {HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.NOT_ACCEPTABLE} and self._has_access():
            raise Rejected("unreadable", "the archive cannot send the instance")
        response.raise_for_status()

    def _has_access(self) -> bool:
        """Whether the archive still answers a search."""
        try:
            self._client.search_for_studies(limit=1)
            return True
        except (RequestException, ValueError):
            return False

    def close(self) -> None:
        """Close connections; a later use opens new ones."""
        self._session.close()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Replace the errors of requests, which quote URLs; an answer that is no JSON is a ValueError too."""
        try:
            yield
        except (ChunkedEncodingError, ContentDecodingError):
            raise TransferBroken from None
        except ValueError:
            raise build_path_error(self._address) from None
        except RequestException as error:
            if is_body_error(error):
                raise TransferBroken from None
            raise build_web_error(error, self._address) from None


def create_session(address: ArchiveAddress, credentials: ArchiveCredentials) -> requests.Session:
    """A session with credentials and patience; certificates are always verified."""
    session = requests.Session()
    session.cert = credentials.certificate_files
    token, password = credentials.token.get_secret_value(), credentials.password.get_secret_value()
    if token:
        session.auth = BearerToken(token)
    elif credentials.user:
        session.auth = (credentials.user, password)
    if (token or credentials.user) and address.scheme == "dicomweb+http" and address.host not in LOOPBACK_HOSTS:
        print("note: dicomweb+http: credentials travel unencrypted; use dicomweb+https", file=sys.stderr)
    retry = PatientRetry(
        RETRIES,
        backoff_factor=BACKOFF_SECONDS,
        status_forcelist=BUSY_STATUSES,
        allowed_methods={"GET"},
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=32, max_retries=retry))
    return session


def read_attributes(match: Mapping[str, Any], keys: Mapping[str, str]) -> Attributes:
    """The first value of each of `keys` in a DICOM JSON object (PS3.18 annex F).

    Raises:
        ValueError: not such an object.
    """
    attributes = {}
    for name in keys:
        element = match.get(f"{tag_for_keyword(name):08X}", {}) if isinstance(match, Mapping) else None
        values = element.get("Value") or [] if isinstance(element, Mapping) else None
        if not isinstance(values, list):
            raise ValueError("not DICOM JSON")
        if values and isinstance(values[0], (str, int, float)):
            attributes[name] = str(values[0])
    return attributes


def write_instance(response: requests.Response, file: BinaryIO, policy: Policy) -> None:
    """Write the first part of a multipart response, or the whole of a plain one.

    Raises:
        Rejected: `too_large`, or `empty`.
        TransferBroken: the response ends early.
        ValueError: it is no response of WADO-RS.
    """
    media_type, options = parse_options_header(response.headers.get("Content-Type", ""))
    writer = InstanceWriter(file, policy)
    if media_type == b"application/dicom":
        for block in response.iter_content(BLOCK_BYTES):
            writer.append_block(block, 0, len(block))
    elif media_type == b"multipart/related" and options.get(b"boundary"):
        parser = MultipartParser(
            options[b"boundary"], {"on_part_data": writer.append_block, "on_part_end": writer.finish_part}
        )
        try:
            for block in response.iter_content(BLOCK_BYTES):
                parser.write(block)
        except FormParserError:
            raise TransferBroken from None
        if not writer.is_complete:
            raise TransferBroken
    else:
        raise ValueError("neither multipart nor DICOM")
    check_file_size(writer.byte_count, policy)


class InstanceWriter:
    """Writes the content of the first part of a multipart body.

    Args:
        file: takes the bytes.
        policy: its `max_bytes` bounds them.
    """

    def __init__(self, file: BinaryIO, policy: Policy) -> None:
        self._file, self._policy = file, policy
        self.byte_count, self.is_complete = 0, False

    def append_block(self, data: bytes, start: int, end: int) -> None:
        """Write a slice of the body, unless the first part is complete."""
        if self.is_complete or start == end:
            return
        self.byte_count += end - start
        check_file_size(self.byte_count, self._policy)
        self._file.write(memoryview(data)[start:end])

    def finish_part(self) -> None:
        """Mark the first part as complete."""
        self.is_complete = True


def is_body_error(error: RequestException) -> bool:
    """Whether a connection was lost, or was silent, in the middle of a response."""
    reason = error.args[0] if error.args else None
    return isinstance(error, RequestConnectionError) and not isinstance(reason, MaxRetryError)


def build_web_error(error: RequestException, address: ArchiveAddress) -> MedpriorError:
    """The error for a service that cannot be used; it names no more than the machine."""
    where, host = f"{address.scheme}://", repr(address.host)
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(reason, NameResolutionError):
        return InputMissing("no such machine", where=where, found=host, fix="check the name and the network")
    if isinstance(reason, SSLError):
        return MedpriorError(
            "the archive's TLS certificate is not trusted",
            where=where,
            found=host,
            fix=f"set {CA_VARIABLE} to the file with the certificates of your authority",
        )
    status = error.response.status_code if error.response is not None else None
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return MedpriorError(
            f"the archive refuses access (HTTP {status})",
            where=where,
            fix="set MEDPRIOR_ARCHIVE_USER and MEDPRIOR_ARCHIVE_PASSWORD, MEDPRIOR_ARCHIVE_TOKEN, or the file "
            "MEDPRIOR_ARCHIVE_CREDENTIALS; images read so far are kept",
        )
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return build_path_error(address)
    if status == HTTPStatus.BAD_REQUEST:
        return ConfigError("the archive does not understand the attributes", where=where, fix="check those after ?")
    answer = f"HTTP {status}" if status else type(reason or error).__name__
    return MedpriorError(
        f"the archive does not answer ({answer})",
        where=where,
        found=host,
        fix="check address and network and run the same command again; images read so far are kept",
    )


def build_path_error(address: ArchiveAddress) -> InputMissing:
    """The error for a web server without DICOMweb at this path."""
    return InputMissing(
        "no DICOMweb service at this path",
        where=f"{address.scheme}://",
        found=repr(address.path),
        fix="check the path, such as /dicom-web",
    )
