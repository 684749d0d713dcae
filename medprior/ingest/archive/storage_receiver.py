"""Receives the instances that an archive sends over C-GET or C-MOVE, and only those asked for."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary, WeakSet

from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_FIND_RSP
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from medprior.dicom import Policy
from medprior.dicom.file_opening import check_file_size
from medprior.errors import MedpriorError, Rejected
from medprior.ingest.archive.address import ArchiveAddress

SYNTAXES: tuple[UID, ...] = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian,
    JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless,
    JPEG2000Lossless, JPEG2000, HTJ2KLossless, RLELossless,
)  # fmt: skip
SUCCESS, NOT_AUTHORISED, NO_ROOM = 0x0000, 0x0124, 0xA700
COMMAND_BYTES = 2**20  # beside the data set


@dataclass
class Reception:
    """One instance on its way.

    Attributes:
        file: takes the bytes.
        policy: its `max_bytes` bounds them.
        error: why it was not written.
        is_complete: whether it was written whole.
    """

    file: BinaryIO
    policy: Policy
    error: Rejected | OSError | None = None
    is_complete: bool = False

    def write_content(self, content: bytes) -> int:
        """Write the file; the status for the archive."""
        try:
            check_file_size(len(content), self.policy)
            self.file.write(content)
        except (Rejected, OSError) as error:
            self.error = error
            return NO_ROOM
        self.is_complete = True
        return SUCCESS


class Receptions:
    """The instances asked for, by SOP instance UID; shared by threads and associations.

    Attributes:
        oversized: associations that were ended since they sent more than a file may have.
    """

    def __init__(self) -> None:
        self._expected: dict[str, Reception] = {}
        self._message_bytes: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
        self._answers: WeakKeyDictionary[Association, int] = WeakKeyDictionary()
        self.oversized: WeakSet[Association] = WeakSet()

    @contextmanager
    def expect_instance(self, uid: str, reception: Reception) -> Iterator[None]:
        """Take the instance `uid` within the block."""
        self._expected[uid] = reception
        try:
            yield
        finally:
            del self._expected[uid]

    def receive_instance(self, event: evt.Event) -> int:
        """Handle a C-STORE request; an instance that nobody asked for is refused."""
        reception = self._expected.get(str(getattr(event.request, "AffectedSOPInstanceUID", "")))
        if reception is None or reception.is_complete:
            return NOT_AUTHORISED
        return reception.write_content(event.encoded_dataset())

    def count_bytes(self, event: evt.Event) -> None:
        """Count what arrives on one association, and end it where a message is larger than any file may be."""
        count = self._message_bytes.get(event.assoc, 0) + len(event.data)
        self._message_bytes[event.assoc] = count
        limits = [reception.policy.max_bytes for reception in list(self._expected.values())]
        if count > max(limits, default=0) + COMMAND_BYTES and event.assoc not in self.oversized:
            self.oversized.add(event.assoc)
            # An abort from here would only be noticed when the answer is overdue.
            if event.assoc.dul.socket is not None:
                event.assoc.dul.socket.close()

    def finish_message(self, event: evt.Event) -> None:
        """Begin to count bytes anew after a whole message, and count answers to searches."""
        self._message_bytes.pop(event.assoc, None)
        if isinstance(event.message, C_FIND_RSP):
            self._answers[event.assoc] = self.count_answers(event.assoc) + 1

    def count_answers(self, association: Association) -> int:
        """How many answers to searches came over an association."""
        return self._answers.get(association, 0)

    def list_handlers(self) -> list[evt.EventHandlerType]:
        """Handlers for associations over which instances arrive."""
        return [
            (evt.EVT_C_STORE, self.receive_instance),
            (evt.EVT_DATA_RECV, self.count_bytes),
            (evt.EVT_DIMSE_RECV, self.finish_message),
        ]


class StorageReceiver:
    """Listens for the associations that an archive opens to answer C-MOVE.

    It listens on the address by which this machine reaches the archive, and accepts the archive's AE title alone.

    Args:
        address: of the archive, with `move_port`.
        sop_classes: what is accepted.
        receptions: what is expected.

    Raises:
        MedpriorError: the port is taken.
    """

    def __init__(self, address: ArchiveAddress, sop_classes: Iterable[str], receptions: Receptions) -> None:
        entity = AE(ae_title=address.calling_aet)
        entity.require_called_aet = True
        entity.require_calling_aet = [address.called_aet]
        for sop_class in sop_classes:
            entity.add_supported_context(sop_class, list(SYNTAXES))
        try:
            self._server: Any = entity.start_server(
                (find_local_address(address), address.move_port or 0),
                block=False,
                evt_handlers=receptions.list_handlers(),
            )
        except OSError as error:
            raise MedpriorError(
                f"the port for C-MOVE cannot be used ({error.strerror})",
                where=f"{address.scheme}://",
                found=f"port {address.move_port}",
                fix="end the program that uses it, or enter another port here and in the archive",
            ) from None

    def close(self) -> None:
        """Stop listening and end associations."""
        self._server.shutdown()


def find_local_address(address: ArchiveAddress) -> str:
    """The address of this machine on the way to the archive; nothing is sent."""
    family, kind, protocol, _, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def build_storage_contexts(sop_classes: Iterable[str]) -> list[PresentationContext]:
    """One context for each class and syntax, so that the archive can send every file as it is stored."""
    return [build_context(sop_class, syntax) for sop_class in sop_classes for syntax in SYNTAXES]


def build_storage_roles(sop_classes: Iterable[str]) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """Roles for C-GET: the program that asks also receives."""
    return [build_role(sop_class, scp_role=True) for sop_class in sop_classes]
