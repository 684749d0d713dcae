"""Counters of node and service, and the node's HTTP server: `/metrics` (Prometheus) and `/health`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)


class QueueGauges(Collector):
    """How much waits, read from disk when the metrics are read.

    Args:
        prefix: of the gauge's name.
        count_files: counts the files in the queue by folder.
    """

    def __init__(self, prefix: str, count_files: Callable[[], Mapping[str, int]]) -> None:
        self._prefix, self._count_files = prefix, count_files

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One gauge with a value for each folder of the queue."""
        gauge = GaugeMetricFamily(f"{self._prefix}_queue", "Files in the queue", labels=["folder"])
        for folder, count in self._count_files().items():
            gauge.add_metric([folder], count)
        yield gauge


class DeliveryMetrics:
    """Counters of what is sent to an archive; labels are codes and kinds of objects, nothing of a patient.

    Args:
        prefix: of all names.
        count_files: counts the files in the queue by folder.
    """

    def __init__(self, prefix: str, count_files: Callable[[], Mapping[str, int]]) -> None:
        self.registry = CollectorRegistry()
        self.deliveries = Counter(
            f"{prefix}_deliveries", "Objects handed to the archive", ["kind", "outcome"], registry=self.registry
        )
        self.delivery_seconds = Histogram(
            f"{prefix}_delivery_seconds", "From arrival to an object in the archive", buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(QueueGauges(prefix, count_files))

    def format_text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class NodeMetrics(DeliveryMetrics):
    """The node's counters.

    Args:
        count_files: counts the files in the queue.
    """

    def __init__(self, count_files: Callable[[], Mapping[str, int]]) -> None:
        super().__init__("medprior_node", count_files)
        registry = self.registry
        self.received = Counter("medprior_node_received", "Radiographs acknowledged", registry=registry)
        self.refused_stores = Counter(
            "medprior_node_refused_stores", "Images refused at their arrival", ["status"], registry=registry
        )
        self.closed = Counter("medprior_node_closed_connections", "Connections closed", ["reason"], registry=registry)
        self.read = Counter("medprior_node_read", "Radiographs read, or their reject code", ["code"], registry=registry)
        self.read_seconds = Histogram(
            "medprior_node_read_seconds", "From start of reading to objects on disk", buckets=SECONDS_BUCKETS,
            registry=registry,
        )  # fmt: skip


class QuietRequestHandler(WSGIRequestHandler):
    """Writes no access log, and closes slow connections."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: an address may hold anything."""


class MetricsServer:
    """Serves `/metrics` and `/health`; `close` ends it.

    Args:
        host: address to listen on.
        port: 0 takes a free one.
        metrics: what `/metrics` shows.
        read_health: the state of the node; `status` is `alive` where all is well.
    """

    def __init__(
        self, host: str, port: int, metrics: NodeMetrics, read_health: Callable[[], Mapping[str, object]]
    ) -> None:
        self._metrics, self._read_health = metrics, read_health
        self._server: WSGIServer = make_server(host, port, self._answer, ThreadingWSGIServer, QuietRequestHandler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environment["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, kind, body = "405 Method Not Allowed", "application/json", b'{"code": "method"}'
        elif environment["PATH_INFO"] == "/metrics":
            status, kind, body = "200 OK", CONTENT_TYPE, self._metrics.format_text()
        elif environment["PATH_INFO"] == "/health":
            health = dict(self._read_health())
            status = "200 OK" if health["status"] == "alive" else "503 Service Unavailable"
            kind, body = "application/json", json.dumps(health).encode()
        else:
            status, kind, body = "404 Not Found", "application/json", b'{"code": "not_found"}'
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]
