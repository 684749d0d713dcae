"""Finds and retrieves instances over DIMSE: C-FIND, then C-GET or C-MOVE (PS3.4 annex C)."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from medprior.dicom import Policy
from medprior.errors import InputMissing, MedpriorError, Rejected
from medprior.ingest.archive.address import ArchiveAddress
from medprior.ingest.archive.credentials import CA_VARIABLE, ArchiveCredentials, create_tls_context
from medprior.ingest.archive.listing import UIDS, Attributes, QueryLevel, TransferBroken
from medprior.ingest.archive.storage_receiver import (
    Reception,
    Receptions,
    StorageReceiver,
    build_storage_contexts,
    build_storage_roles,
)

# Study root (PS3.4 table C.6.2-1).
FIND_MODEL, MOVE_MODEL, GET_MODEL = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
MAX_ASSOCIATIONS = 4
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
BACKOFF_SECONDS = (1.0, 2.0, 4.0, 8.0)
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
OUT_OF_RESOURCES = (0xA700, 0xA701, 0xA702)
REJECTED_FOR_NOW = 2


class DimseConnection:
    """Associations with one archive, at most `MAX_ASSOCIATIONS`, kept open between requests.

    Args:
        address: of the archive.
        credentials: the certificate for TLS.
        sop_classes: what can be retrieved, at most eight.

    Raises:
        ConfigError: a certificate cannot be read.
    """

    def __init__(self, address: ArchiveAddress, credentials: ArchiveCredentials, sop_classes: Sequence[str]) -> None:
        self._address, self._sop_classes = address, tuple(sop_classes)
        self._tls = (create_tls_context(credentials), address.host) if address.scheme == "dimse+tls" else None
        self._idle: queue.LifoQueue[Association] = queue.LifoQueue()
        self._slots = threading.BoundedSemaphore(MAX_ASSOCIATIONS)
        self._receptions = Receptions()
        self._receiver: StorageReceiver | None = None
        self._lock = threading.Lock()
        self._last_received: tuple[str, str, str] | None = None
        is_move = address.move_port is not None
        self._model: str = MOVE_MODEL if is_move else GET_MODEL
        self._entity = AE(ae_title=address.calling_aet)
        self._entity.connection_timeout = CONNECT_SECONDS
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = ANSWER_SECONDS
        models = [FIND_MODEL, self._model]
        contexts = [] if is_move else build_storage_contexts(self._sop_classes)
        self._entity.requested_contexts = [*map(build_context, models), *contexts]

    def find_matches(self, level: QueryLevel, keys: Mapping[str, str]) -> list[Attributes]:
        """Attributes of all matches; see `listing.ArchiveConnection`."""
        identifier = build_identifier(level, keys)
        for seconds in (*BACKOFF_SECONDS, 0.0):
            matches: list[Attributes] = []
            code: int | None = None
            with self._associate() as association:
                answer_count = -self._receptions.count_answers(association)
                for status, match in association.send_c_find(identifier, FIND_MODEL):
                    code = status.get("Status")
                    answer_count -= 1
                    if code in PENDING and match is not None:
                        matches.append({name: str(match.get(name) or "") for name in keys})
                answer_count += self._receptions.count_answers(association)
                if answer_count != 0:
                    # A busy machine lets pynetdicom's own loop take an answer away (its log: "unexpected message").
                    association.abort()
                    code = None
            if code == SUCCESS:
                return matches
            if code is not None and code not in OUT_OF_RESOURCES:
                raise self._build_error(f"the archive refuses the search (status {code:04X})", "check the attributes")
            time.sleep(seconds)
        raise self._build_error("the archive does not answer a search", "run the same command again later")

    def retrieve_instance(self, uids: tuple[str, str, str], file: BinaryIO, policy: Policy) -> None:
        """Write an instance as it arrives over C-GET or C-MOVE; see `listing.ArchiveConnection`."""
        self._start_receiver()
        reception = Reception(file, policy)
        code = self._transfer_instance(uids, reception)
        if reception.error is not None:
            raise reception.error
        if reception.is_complete:
            self._last_received = uids
            return
        if code is None or code in OUT_OF_RESOURCES:
            raise TransferBroken
        if code != SUCCESS and not self._can_send():
            title, port = self._address.calling_aet, self._address.move_port
            raise self._build_error(
                f"the archive sends nothing to {title} (status {code:04X})",
                f"enter AE title {title} with this machine and port {port} there, or leave out retrieve=move",
            )
        raise Rejected(
            "unreadable", "the instance is gone" if code == SUCCESS else "the archive cannot send the instance"
        )

    def _can_send(self) -> bool:
        """Whether instances arrive at all: over C-GET, or where the last one that did arrives again."""
        if self._address.move_port is None:
            return True
        if self._last_received is None:
            return False
        with open(os.devnull, "wb") as file:
            reception = Reception(file, Policy())
            self._transfer_instance(self._last_received, reception)
        return reception.is_complete

    def _transfer_instance(self, uids: tuple[str, str, str], reception: Reception) -> int | None:
        """The final status; None where the association was lost."""
        identifier = build_identifier("IMAGE", dict(zip(UIDS, uids, strict=True)))
        with self._receptions.expect_instance(uids[2], reception), self._associate() as association:
            code = self._request_instance(association, identifier)
            if association in self._receptions.oversized:
                association.abort()
                reception.error = Rejected("too_large", f"the file is larger than {reception.policy.max_bytes} bytes")
        return code

    def _request_instance(self, association: Association, identifier: Dataset) -> int | None:
        """The final status; None where the association was lost."""
        if self._address.move_port is None:
            answers = association.send_c_get(identifier, self._model)
        else:
            answers = association.send_c_move(identifier, self._address.calling_aet, self._model)
        code: int | None = None
        for status, _ in answers:
            code = status.get("Status")
        return code

    def _start_receiver(self) -> None:
        with self._lock:
            if self._address.move_port is not None and self._receiver is None:
                self._receiver = StorageReceiver(self._address, self._sop_classes, self._receptions)

    def close(self) -> None:
        """Release associations and stop receiving; a later use opens new ones."""
        with self._lock:
            while not self._idle.empty():
                self._idle.get_nowait().release()
            if self._receiver is not None:
                self._receiver.close()
                self._receiver = None

    @contextmanager
    def _associate(self) -> Iterator[Association]:
        """An association for one request; a lost one is not used again."""
        with self._slots:
            association = self._take_idle() or self._open_association()
            try:
                yield association
            except BaseException:
                association.abort()
                raise
            if association.is_established:
                self._idle.put(association)

    def _take_idle(self) -> Association | None:
        while True:
            try:
                association = self._idle.get_nowait()
            except queue.Empty:
                return None
            if association.is_established:
                return association

    def _open_association(self) -> Association:
        """A new association; connections that fail and transient rejections are tried again."""
        try:
            socket.getaddrinfo(self._address.host, self._address.port)
        except OSError:
            raise InputMissing(
                "no such machine",
                where=f"{self._address.scheme}://",
                found=repr(self._address.host),
                fix="check the name and the network",
            ) from None
        roles = build_storage_roles(self._sop_classes) if self._address.move_port is None else []
        for seconds in (*BACKOFF_SECONDS, 0.0):
            association = self._entity.associate(
                self._address.host,
                self._address.port or 0,
                ae_title=self._address.called_aet,
                ext_neg=[*roles],
                tls_args=self._tls,
                evt_handlers=self._receptions.list_handlers(),
            )
            if association.is_established:
                self._check_contexts(association)
                return association
            if association.is_rejected:
                self._check_rejection(association)
            time.sleep(seconds)
        tls = f", and {CA_VARIABLE} for its certificate" if self._tls else ""
        raise self._build_error(
            "the archive does not answer",
            f"check address, port and network{tls}, and run the same command again; images read so far are kept",
        )

    def _check_rejection(self, association: Association) -> None:
        primitive: Any = association.acceptor.primitive
        if primitive is None or primitive.result != REJECTED_FOR_NOW:
            reason = getattr(primitive, "reason_str", "") or "no reason given"
            raise self._build_error(
                f"the archive rejects the association ({reason.lower()})",
                f"check its AE title {self._address.called_aet}, and that it knows {self._address.calling_aet} "
                "(?aet=TITLE names another)",
            )

    def _check_contexts(self, association: Association) -> None:
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        for model, name, fix in (
            (FIND_MODEL, "C-FIND", "allow it for this AE title"),
            (GET_MODEL, "C-GET", "use ?retrieve=move&port=PORT"),
            (MOVE_MODEL, "C-MOVE", "leave out retrieve=move"),
        ):
            if model in {FIND_MODEL, self._model} and model not in accepted:
                association.release()
                raise self._build_error(f"the archive does not offer {name}", fix)

    def _build_error(self, what: str, fix: str) -> MedpriorError:
        return MedpriorError(
            what,
            where=f"{self._address.scheme}://",
            found=f"{self._address.host!r} port {self._address.port}",
            fix=fix,
        )


def build_identifier(level: QueryLevel, keys: Mapping[str, str]) -> Dataset:
    """The identifier of a C-FIND, C-GET or C-MOVE request; UIDs with commas become lists."""
    identifier = Dataset()
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for name, value in keys.items():
        text = value.replace(",", "\\") if name.endswith("UID") else value
        # Wildcards and ranges are no valid values, and a warning would quote them.
        element = DataElement(name, dictionary_VR(name), text, validation_mode=IGNORE)
        identifier.add(element)
    return identifier
