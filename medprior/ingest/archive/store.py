"""`ArchiveStore`: an archive as a source of files, one file per instance, beside folders and object stores."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from medprior.dicom import Policy
from medprior.dicom.eligibility import CR_STORAGE, DX_PRESENTATION, DX_PROCESSING, SECONDARY_CAPTURE
from medprior.errors import ConfigError, InputMissing, Rejected
from medprior.ingest.archive.address import ArchiveAddress, parse_archive_url
from medprior.ingest.archive.credentials import load_archive_credentials
from medprior.ingest.archive.listing import (
    ArchiveConnection,
    ArchiveInstance,
    TransferBroken,
    check_listed_instance,
    list_radiographs,
)
from medprior.ingest.source_journal import FileStamp

RADIOGRAPH_CLASSES = (CR_STORAGE, DX_PRESENTATION, DX_PROCESSING, SECONDARY_CAPTURE)
# Their lines quote URLs and attributes, which may name patients.
QUOTING_LOGGERS = ("urllib3", "dicomweb_client", "pynetdicom")
RETRY_SECONDS = (0.5, 2.0, 8.0)


class ArchiveStore:
    """The radiographs of one archive.

    Attributes:
        scheme: of its URL; messages name no more of it.

    Args:
        url: see `address.parse_archive_url`.

    Raises:
        ConfigError: the URL or the credentials cannot be used, or a package is missing.
    """

    def __init__(self, url: str) -> None:
        self._address = parse_archive_url(url)
        self.scheme = self._address.scheme
        self._connection = connect_archive(self._address)
        self._instances: dict[str, ArchiveInstance] = {}

    def entries(self) -> dict[str, FileStamp]:
        """`STUDY/SERIES/INSTANCE.dcm` -> stamp of every instance that may be a radiograph.

        Raises:
            InputMissing: nothing matches.
            MedpriorError: the archive cannot be used.
        """
        try:
            listing = list_radiographs(self._connection, self._address)
        finally:
            # An open association would keep a run without anything to fetch from its end.
            self.close()
        self._instances = listing.instances
        rest = listing.describe_rest()
        if not listing.instances:
            raise InputMissing(
                "no radiograph of the archive matches",
                where=f"{self.scheme}://",
                found=rest or "no study",
                fix="check the attributes after ?, such as StudyDate=20240101-20241231",
            )
        if rest:
            print(f"note: {self.scheme}: not read: {rest}", file=sys.stderr)
        return {path: instance.stamp for path, instance in listing.instances.items()}

    def url(self, relative: str) -> str:
        """The URL of an instance, for the private list of sources."""
        study, series, name = relative.split("/")
        instance = name.removesuffix(".dcm")
        if self._address.is_web:
            return f"{self._address.root}/studies/{study}/series/{series}/instances/{instance}"
        return f"{self._address.root}/{study}/{series}/{instance}"

    def fetch(self, url: str, target: Path, policy: Policy) -> None:
        """Copy one instance into `target`, which is created with mode 0600.

        Raises:
            Rejected: the listed attributes are not those of a chest radiograph, or the archive refuses the instance.
            MedpriorError: the archive cannot be used.
            OSError: the local disk is full.
        """
        uids = self._parse_uids(url)
        listed = self._instances.get("/".join(uids) + ".dcm")
        if listed is not None:
            check_listed_instance(listed, policy)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            self._retrieve(uids, file, policy)

    def _retrieve(self, uids: tuple[str, str, str], file: BinaryIO, policy: Policy) -> None:
        for seconds in RETRY_SECONDS:
            try:
                self._connection.retrieve_instance(uids, file, policy)
                return
            except TransferBroken:
                file.seek(0)
                file.truncate()
                time.sleep(seconds)
        try:
            self._connection.retrieve_instance(uids, file, policy)
        except TransferBroken:
            raise Rejected("unreadable", "the archive does not send the instance whole") from None

    def _parse_uids(self, url: str) -> tuple[str, str, str]:
        """UIDs of study, series and instance from what `url` returned."""
        steps = url.removeprefix(self._address.root + "/").split("/")
        return cast("tuple[str, str, str]", tuple(steps[1::2] if self._address.is_web else steps))

    def close(self) -> None:
        """Close connections; a later use opens new ones."""
        self._connection.close()


def connect_archive(address: ArchiveAddress, sop_classes: Sequence[str] = RADIOGRAPH_CLASSES) -> ArchiveConnection:
    """The connection for the protocol of the address; nothing is sent yet.

    Args:
        address: of the archive.
        sop_classes: what can be retrieved; DIMSE negotiates it.

    Raises:
        ConfigError: a package is missing, or the credentials cannot be used.
    """
    for name in QUOTING_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    credentials = load_archive_credentials()
    try:
        if address.is_web:
            from medprior.ingest.archive.dicomweb import DicomwebConnection

            return DicomwebConnection(address, credentials)
        from medprior.ingest.archive.dimse import DimseConnection

        return DimseConnection(address, credentials, sop_classes)
    except ImportError as error:
        raise ConfigError(
            "this kind of archive is not installed", where=f"{address.scheme}://", fix=f"pip install {error.name}"
        ) from None
