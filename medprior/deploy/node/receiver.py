"""Receives radiographs by C-STORE within limits: known callers, bounded messages, bounded associations."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pydicom import uid
from pynetdicom import AE, evt
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from medprior.deploy.node.metrics import NodeMetrics
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node.work_queue import MEBIBYTE, WorkQueue
from medprior.dicom.decoding.decoders import DECODER_PLUGINS, UNCOMPRESSED_SYNTAXES

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

NODE_LOG = logging.getLogger("medprior.node")
VERIFICATION = "1.2.840.10008.1.1"
# CR, digital X-ray for presentation, secondary capture (digitised films); all others are refused by their context.
RECEIVED_SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7")
LITTLE_ENDIAN_SYNTAXES = (str(uid.ExplicitVRLittleEndian), str(uid.ImplicitVRLittleEndian))
# Of the syntaxes that a caller offers, the first one is taken: what every sender can write comes first.
RECEIVED_SYNTAXES = [
    *map(uid.UID, LITTLE_ENDIAN_SYNTAXES),
    *(uid.UID(text) for text in sorted({*UNCOMPRESSED_SYNTAXES, *DECODER_PLUGINS} - set(LITTLE_ENDIAN_SYNTAXES))),
]
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700
MAX_PDU_BYTES = 2**18


class LimitExceededError(OSError):
    """A peer sends more than it may, or too slowly; the connection is closed."""


class BoundedSocket(AssociationSocket):
    """The socket of one association: refuses long data units, long messages and slow senders.

    pynetdicom reads whatever length a peer announces, before it knows who calls, and waits without end for
    the rest of a data unit.
    """

    max_message_bytes = 128 * MEBIBYTE
    unit_seconds = 30.0
    received_bytes = 0
    on_limit: Callable[[str], None] | None = None

    def recv(self, nr_bytes: int) -> bytearray:
        """Receive `nr_bytes`, or fewer where the connection ends.

        Raises:
            LimitExceededError: more than a data unit or a message may have, or not in time.
        """
        self.received_bytes += nr_bytes
        if nr_bytes > MAX_PDU_BYTES or self.received_bytes > self.max_message_bytes:
            self._refuse("too_large")
        deadline = time.monotonic() + self.unit_seconds
        received = bytearray()
        while len(received) < nr_bytes:
            if time.monotonic() > deadline:
                self._refuse("too_slow")
            chunk = self.socket.recv(min(65536, nr_bytes - len(received))) if self.socket else b""
            if not chunk:
                break
            received.extend(chunk)
        return received

    def _refuse(self, reason: str) -> None:
        if self.on_limit is not None:
            self.on_limit(reason)
        raise LimitExceededError(reason)


class BoundedRequestHandler(RequestHandler):
    """Gives each association a `BoundedSocket`."""

    server: BoundedServer

    def _create_association(self) -> Association:
        self.request.settimeout(self.server.settings.message_seconds)
        association = super()._create_association()
        bounded = cast(BoundedSocket, association.dul.socket)
        bounded.__class__ = BoundedSocket  # pynetdicom has no place for a socket of one's own
        bounded.max_message_bytes = self.server.settings.max_mb * MEBIBYTE
        bounded.unit_seconds = self.server.settings.message_seconds
        bounded.on_limit = self.server.count_closed
        return association


class BoundedServer(ThreadedAssociationServer):
    """Accepts connections; a TLS handshake waits in the connection's own thread, not in this one."""

    settings: NodeSettings
    count_closed: Callable[[str], None]

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection."""
        connection, address = cast(socket.socket, self.socket).accept()
        connection.settimeout(self.settings.message_seconds)
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Finish the handshake, then answer."""
        try:
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
        except OSError:
            self.count_closed("tls")
            self.shutdown_request(request)
            return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Count a connection that ended with an error; its traceback may quote what it sent."""
        self.count_closed("error")


class Receiver:
    """The C-STORE and C-ECHO side of the node; `close` ends it.

    Args:
        settings: titles, address and limits.
        queue: takes what is received.
        metrics: counts.
        on_receive: called after each radiograph that was taken.
        tls: context of TLS connections; None for plain ones.
    """

    def __init__(
        self,
        settings: NodeSettings,
        queue: WorkQueue,
        metrics: NodeMetrics,
        on_receive: Callable[[], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings, self._queue, self._metrics, self._on_receive = settings, queue, metrics, on_receive
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its messages quote what peers send
        entity = AE(settings.aet)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.known)
        entity.maximum_associations = settings.max_associations
        entity.maximum_pdu_size = MAX_PDU_BYTES // 2
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = settings.message_seconds
        entity.add_supported_context(VERIFICATION)
        for sop_class in RECEIVED_SOP_CLASSES:
            entity.add_supported_context(sop_class, RECEIVED_SYNTAXES)
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_DIMSE_RECV, self._reset_message_size),
            (evt.EVT_REJECTED, self._log_rejection),
        ]
        address = (settings.host, settings.port)
        self._entity = entity
        server = entity.make_server(
            address, None, None, tls, handlers, BoundedServer, request_handler=BoundedRequestHandler
        )
        self._server = cast(BoundedServer, server)
        self._server.settings, self._server.count_closed = settings, self._count_closed
        entity._servers.append(self._server)  # as `start_server` does; `shutdown` ends it
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it accepts connections."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Accept connections in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Accept no more, and end the open associations."""
        self._entity.shutdown()

    def _store(self, event: Event) -> int:
        """Put one image on disk, and only then acknowledge it."""
        try:
            name = None if self._is_full() else self._queue.add(event.encoded_dataset())
        except OSError as error:
            NODE_LOG.error("an image cannot be written: %s", error.strerror)
            name = None
        if name is None:
            self._metrics.refused_stores.labels("a700").inc()
            return OUT_OF_RESOURCES
        NODE_LOG.info("%s received", name)
        self._metrics.received.inc()
        self._on_receive()
        return SUCCESS

    def _is_full(self) -> bool:
        """Whether enough radiographs wait, or too little of the disk is free."""
        is_full = self._queue.count_incoming() >= self._settings.waiting
        return is_full or not self._queue.has_free_space(self._settings.min_free_mb)

    def _reset_message_size(self, event: Event) -> None:
        cast(BoundedSocket, event.assoc.dul.socket).received_bytes = 0

    def _log_rejection(self, event: Event) -> None:
        """Name the two titles: whoever runs the node must know which to add."""
        request = event.assoc.requestor.primitive
        calling = (request.calling_ae_title or "").strip() if request else ""
        called = (request.called_ae_title or "").strip() if request else ""
        is_known = calling in self._settings.known and called == self._settings.aet
        self._count_closed("busy" if is_known else "unknown_title")
        if not is_known:
            NODE_LOG.warning("refused a call from %r to %r: see --known and --aet", calling, called)

    def _count_closed(self, reason: str) -> None:
        self._metrics.closed.labels(reason).inc()
