"""Sends the objects of the queue to the archive; where it is down, waits longer after each try."""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path

from medprior.deploy.node.destinations import Delivery, Destination
from medprior.deploy.node.metrics import DeliveryMetrics
from medprior.deploy.node.settings import DeliverySettings
from medprior.deploy.node.work_queue import WorkQueue

NODE_LOG = logging.getLogger("medprior.node")
IDLE_SECONDS = 1.0


class QueueSender:
    """The thread that empties `outgoing`; `close` ends it after the object at hand.

    Attributes:
        failures: deliveries that failed since the last one that did not.
    """

    def __init__(
        self,
        destination: Destination,
        queue: WorkQueue,
        metrics: DeliveryMetrics,
        settings: DeliverySettings,
        built: threading.Event,
    ) -> None:
        self._destination, self._queue, self._metrics, self._settings = destination, queue, metrics, settings
        self._built, self._stopped = built, threading.Event()
        self._thread = threading.Thread(target=self._run, name="sending", daemon=True)
        self.failures = 0

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after the object at hand; what waits stays on disk."""
        self._stopped.set()
        self._built.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._built.clear()
            try:
                for path in self._queue.list_outgoing():
                    if self._stopped.is_set() or not self._deliver(path):
                        break
            except OSError as error:
                NODE_LOG.error("the queue cannot be written: %s", error.strerror)
                self.failures += 1
            if self.failures:
                self._stopped.wait(compute_wait_seconds(self.failures, self._settings))
            else:
                self._built.wait(IDLE_SECONDS)

    def _deliver(self, path: Path) -> bool:
        """Send one object; returns whether the next may follow at once."""
        name, kind = path.parent.name, path.name.split(".")[1]
        try:
            outcome, word = self._destination.send(path.read_bytes())
        except Exception as error:
            outcome, word = Delivery.UNREACHABLE, type(error).__name__  # its text may quote the object
        self._metrics.deliveries.labels(kind, outcome.value).inc()
        if outcome is Delivery.UNREACHABLE:
            self.failures += 1
            NODE_LOG.warning("%s %s waits: %s (try %d)", name, kind, word, self.failures)
            return False
        self.failures = 0
        if outcome is Delivery.SENT:
            self._metrics.delivery_seconds.observe(time.time() - int(name.split("-")[0]) / 1e9)
            self._queue.remove_sent(path)
            NODE_LOG.info("%s %s sent", name, kind)
        else:
            self._queue.fail_object(path)
            NODE_LOG.error("%s %s refused by the archive: %s; kept in failed", name, kind, word)
        return True


def compute_wait_seconds(failures: int, settings: DeliverySettings) -> float:
    """The wait after a number of failed deliveries: doubled each time up to a limit, then shortened by up to half."""
    wait = min(settings.longest_wait_seconds, settings.first_wait_seconds * 2.0 ** min(failures - 1, 30))
    return wait * random.uniform(0.5, 1.0)
