"""Parses the URL of an archive: its address, the attributes to match, and how instances are retrieved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from medprior.errors import ConfigError, suggest_nearest

WEB_SCHEMES = ("dicomweb+https", "dicomweb+http")
DIMSE_SCHEMES = ("dimse", "dimse+tls")
EXPECTED_URLS = "dicomweb+https://HOST/dicom-web or dimse://AET@HOST:PORT"
STUDY_KEYS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyID", "StudyInstanceUID", "StudyDescription", "ReferringPhysicianName", "ModalitiesInStudy",
)  # fmt: skip
SERIES_KEYS = (
    "Modality", "BodyPartExamined", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "StationName",
)  # fmt: skip
OPTIONS = ("aet", "retrieve", "port")
DEFAULT_AET = "MEDPRIOR"
AET_PATTERN = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")


@dataclass(frozen=True)
class ArchiveAddress:
    """Where an archive is, and which studies and series are asked for.

    Attributes:
        scheme: one of `WEB_SCHEMES` or `DIMSE_SCHEMES`.
        host: name or address of its machine.
        port: TCP port; None for the usual one of HTTP(S).
        path: root of its DICOMweb service, without a slash at the end.
        called_aet: its AE title, for DIMSE.
        calling_aet: AE title of this program, for DIMSE.
        move_port: port of this program to which C-MOVE sends instances; None for C-GET.
        study_filters: attributes of studies and their values to match.
        series_filters: attributes of series and their values to match.
    """

    scheme: str
    host: str
    port: int | None
    path: str = ""
    called_aet: str = ""
    calling_aet: str = DEFAULT_AET
    move_port: int | None = None
    study_filters: Mapping[str, str] = field(default_factory=dict)
    series_filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_web(self) -> bool:
        """Whether the archive speaks DICOMweb."""
        return self.scheme in WEB_SCHEMES

    @property
    def root(self) -> str:
        """The URL without attributes and options; instances are below it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        title = f"{quote(self.called_aet)}@" if self.called_aet else ""
        return f"{self.scheme}://{title}{host}{f':{self.port}' if self.port else ''}{self.path}"


def is_archive_url(url: str) -> bool:
    """Whether a URL names an archive, or is meant to."""
    return url.lower().startswith(("dicomweb", "dimse"))


def parse_archive_url(url: str) -> ArchiveAddress:
    """The address in a URL such as `dicomweb+https://host/dicom-web?StudyDate=20240101-` or `dimse://AET@host:104`.

    Raises:
        ConfigError: no such URL, one with credentials, or one with an unknown attribute. No message quotes a value.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("not the URL of an archive", where="INPUT", expected=EXPECTED_URLS) from None
    scheme = parts.scheme.lower()
    if scheme not in (*WEB_SCHEMES, *DIMSE_SCHEMES) or not host or parts.fragment:
        raise ConfigError("not the URL of an archive", where="INPUT", expected=EXPECTED_URLS)
    if parts.password is not None or (parts.username is not None and scheme in WEB_SCHEMES):
        raise ConfigError(
            "a URL must not contain credentials",
            where=f"{scheme}://",
            fix="set MEDPRIOR_ARCHIVE_CREDENTIALS to a file with mode 0600, as medprior/ingest/archive/README.md says",
        )
    values = parse_query(parts.query, scheme)
    filters = {keys: {name: values[name] for name in keys if name in values} for keys in (STUDY_KEYS, SERIES_KEYS)}
    if scheme in WEB_SCHEMES:
        path = parts.path.rstrip("/")
        return ArchiveAddress(
            scheme, host, port, path, study_filters=filters[STUDY_KEYS], series_filters=filters[SERIES_KEYS]
        )
    return ArchiveAddress(
        scheme,
        host,
        port,
        called_aet=parse_called_aet(parts, scheme),
        calling_aet=parse_aet(values.get("aet", DEFAULT_AET), scheme),
        move_port=parse_move_port(values, scheme),
        study_filters=filters[STUDY_KEYS],
        series_filters=filters[SERIES_KEYS],
    )


def parse_query(query: str, scheme: str) -> dict[str, str]:
    """Attributes and options of a URL; several values of one attribute are joined by commas."""
    known = [*STUDY_KEYS, *SERIES_KEYS, *(OPTIONS if scheme in DIMSE_SCHEMES else ())]
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise ConfigError(
                f"unknown attribute {name[:40]!r}",
                where=f"{scheme}://",
                expected=list_names(known),
                fix=suggest_nearest(name, known),
            )
        if not value or not value.isprintable():
            raise ConfigError(f"the attribute {name} has no printable value", where=f"{scheme}://")
        if name in values and name != "ModalitiesInStudy":
            raise ConfigError(f"the attribute {name} is given twice", where=f"{scheme}://")
        values[name] = f"{values[name]},{value}" if name in values else value
    return values


def list_names(names: Iterable[str]) -> str:
    """Names in one line."""
    return ", ".join(names)


def parse_called_aet(parts: SplitResult, scheme: str) -> str:
    """The archive's AE title; the URL must name it, and the port."""
    if not parts.username or parts.port is None or parts.path.strip("/"):
        raise ConfigError("not the address of an archive", where=f"{scheme}://", expected=f"{scheme}://AET@HOST:PORT")
    return parse_aet(unquote(parts.username), scheme)


def parse_aet(title: str, scheme: str) -> str:
    """An AE title: at most 16 characters of ASCII (PS3.5 section 6.2)."""
    if AET_PATTERN.fullmatch(title) is None:
        raise ConfigError("not an AE title", where=f"{scheme}://", expected="1 to 16 printable ASCII characters")
    return title


def parse_move_port(values: Mapping[str, str], scheme: str) -> int | None:
    """The port for C-MOVE; None for C-GET."""
    retrieve, port = values.get("retrieve", "get"), values.get("port", "")
    if retrieve == "get" and not port:
        return None
    if retrieve == "move" and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return int(port)
    raise ConfigError(
        "not a way of retrieval",
        where=f"{scheme}://",
        expected="retrieve=get, or retrieve=move&port=PORT with the port that the archive knows for this AE title",
    )
