"""Puts the node together: receiver, queue, readers, sender, and the server of its metrics."""

from __future__ import annotations

import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.node.delivery import QueueSender
from medprior.deploy.node.destinations import Destination
from medprior.deploy.node.metrics import MetricsServer, NodeMetrics
from medprior.deploy.node.reading import QueueReader
from medprior.deploy.node.receiver import Receiver
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node.work_queue import MEBIBYTE, WorkQueue
from medprior.dicom import Policy
from medprior.dicom.bounded_reader import BoundedReader
from medprior.errors import MedpriorError
from medprior.locks import LOCK_FILE, hold_lock


class Node:
    """A running node.

    Attributes:
        port: its DICOM port.
        http_port: the port of its metrics.
    """

    def __init__(
        self,
        folder: Path,
        predictor: Predictor,
        reader: BoundedReader,
        destination: Destination,
        settings: NodeSettings,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.queue = WorkQueue(folder)
        metrics = NodeMetrics(self.queue.count_files)
        self._arrived, built = threading.Condition(), threading.Event()
        self._sender = QueueSender(destination, self.queue, metrics, settings, built)
        self._reading = QueueReader(predictor, reader, self.queue, metrics, settings, self._arrived, built)
        try:
            self._receiver = Receiver(settings, self.queue, metrics, self._notify_arrival, tls)
            self._metrics_server = MetricsServer(settings.host, settings.http_port, metrics, self.read_health)
        except OSError as error:
            ports = f"{settings.host}, ports {settings.port} and {settings.http_port}"
            raise MedpriorError(f"cannot listen ({error.strerror})", where=ports, fix="give another --port") from None
        self.port, self.http_port = self._receiver.port, self._metrics_server.port

    def start(self) -> None:
        """Take up what waits on disk, and accept connections."""
        self._sender.start()
        self._reading.start()
        self._receiver.start()
        self._metrics_server.start()

    def close(self) -> None:
        """Accept no more, finish the radiographs and the object at hand; what waits stays on disk."""
        self._receiver.close()
        self._reading.close()
        self._sender.close()
        self._metrics_server.close()

    def read_health(self) -> dict[str, object]:
        """The state of the node: its parts, what waits, and failed deliveries since the last good one."""
        parts = {
            "receiving": self._receiver.is_alive,
            "reading": self._reading.is_alive,
            "sending": self._sender.is_alive,
        }
        dead = [name for name, is_alive in parts.items() if not is_alive]
        status = f"stopped: {', '.join(dead)}" if dead else "alive"
        return {"status": status, "queue": self.queue.count_files(), "failed_deliveries": self._sender.failures}

    def _notify_arrival(self) -> None:
        with self._arrived:
            self._arrived.notify()


def run_node(
    folder: Path,
    predictor: Predictor,
    destination: Destination,
    settings: NodeSettings,
    tls: ssl.SSLContext | None,
    announce: Callable[[Node], None],
) -> None:
    """Run a node until SIGTERM or Ctrl-C.

    Args:
        folder: holds its queue; one node at a time.
        predictor: the models.
        destination: the archive.
        settings: titles, addresses and limits.
        tls: context of TLS connections, or None.
        announce: called once it accepts connections.

    Raises:
        MedpriorError: another node uses the folder, or a port is taken.
    """
    policy = Policy(max_bytes=settings.max_mb * MEBIBYTE)
    with (
        hold_lock(folder / LOCK_FILE, "this queue", mode=0o600),
        BoundedReader(settings.workers, policy) as reader,
        await_stop_signal() as stopped,
    ):
        node = Node(folder, predictor, reader, destination, settings, tls)
        node.start()
        announce(node)
        stopped.wait()
        node.close()


@contextmanager
def await_stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM or Ctrl-C sets."""
    stopped = threading.Event()
    handlers = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
