"""Sends the objects of store requests on to an archive: the same queue and delivery as those of the node."""

from __future__ import annotations

import datetime
import io
import threading
from pathlib import Path

import medprior
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.node.delivery import QueueSender
from medprior.deploy.node.destinations import Destination
from medprior.deploy.node.settings import DeliverySettings
from medprior.deploy.node.work_queue import WorkQueue
from medprior.deploy.service.metrics import ServiceMetrics
from medprior.pages.problem import Problem

FULL_DISK_RETRY = {"Retry-After": "60"}


class ResultSender:
    """Puts the objects of a prediction on disk, and sends them from there in a thread of its own.

    Args:
        folder: of the queue; for one process at a time. It holds patient data.
        destination: the archive.
        settings: kinds of objects, and when a delivery is tried again.

    Attributes:
        metrics: counts.
    """

    def __init__(self, folder: Path, destination: Destination, settings: DeliverySettings) -> None:
        self._queue, self._settings, self._added = WorkQueue(folder), settings, threading.Event()
        self.metrics = ServiceMetrics(self._queue.count_files)
        self._sender = QueueSender(destination, self._queue, self.metrics, settings, self._added)

    def start(self) -> None:
        """Start sending what waits on disk."""
        self._sender.start()

    def close(self) -> None:
        """End after the object at hand; what waits stays on disk."""
        self._sender.close()

    def add_objects(self, prediction: RadiographPrediction, data: bytes) -> list[str]:
        """Put the objects of a prediction on disk; returns their kinds.

        Args:
            prediction: of `data`.
            data: the radiograph's DICOM file.

        Raises:
            Rejected: the file gives no objects; see `build_dicom_objects`.
            Problem: 503 `queue_full`, they cannot be written.
        """
        from medprior.deploy.inference.dicom_output import build_dicom_objects  # imports highdicom, which takes seconds
        from medprior.dicom.derived.derived_object import CreatorInfo

        now = datetime.datetime.now().replace(microsecond=0)
        # The same picture and models give the same UIDs: an archive that has the objects does not get them twice.
        creator = CreatorInfo(medprior.__version__, prediction.model_digest, now, prediction.pixel_sha256)
        objects = build_dicom_objects(prediction, io.BytesIO(data), self._settings.objects, creator)
        try:
            if not self._queue.has_free_space(self._settings.min_free_mb):
                raise OSError("little space is left")
            self._queue.add_objects(objects)
        except OSError:
            message = "the results cannot be kept for the archive; try again later"
            raise Problem(503, "queue_full", message, FULL_DISK_RETRY) from None
        self._added.set()
        return list(objects)

    def read_health(self) -> dict[str, object]:
        """The state of sending: whether its thread runs, what waits, and failed deliveries since the last good one."""
        return {
            "status": "alive" if self._sender.is_alive else "stopped: sending",
            "queue": self._queue.count_files(),
            "failed_deliveries": self._sender.failures,
        }
