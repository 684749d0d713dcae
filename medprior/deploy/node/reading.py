"""Reads the radiographs of the queue in confined processes, predicts, and builds the objects to send."""

from __future__ import annotations

import datetime
import logging
import threading
import time

import medprior
from medprior.deploy.inference.dicom_output import build_dicom_objects
from medprior.deploy.inference.out_of_distribution import refuse_unfamiliar
from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.node.metrics import NodeMetrics
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node.work_queue import QueuedRadiograph, WorkQueue
from medprior.deploy.service.dynamic_batching import DynamicBatcher
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.derived.derived_object import CreatorInfo
from medprior.errors import Rejected

NODE_LOG = logging.getLogger("medprior.node")
# Of these the file may be innocent: it is kept and read again.
FAULT_CODES = {"internal", "timeout", "memory", "worker_died"}
IDLE_SECONDS = 1.0


class QueueReader:
    """The threads that empty `incoming`; `close` ends them after the radiographs at hand.

    Args:
        predictor: the models.
        reader: decodes files in processes under limits.
        queue: what to read.
        metrics: counts.
        settings: kinds of objects, number of threads and attempts.
        arrived: set when something arrived.
        built: set when objects are to be sent.
    """

    def __init__(
        self,
        predictor: Predictor,
        reader: BoundedReader,
        queue: WorkQueue,
        metrics: NodeMetrics,
        settings: NodeSettings,
        arrived: threading.Condition,
        built: threading.Event,
    ) -> None:
        self._batcher = DynamicBatcher(settings.workers)
        self._predictor, self._reader = self._batcher.predictor(predictor), reader
        self._queue, self._metrics, self._settings = queue, metrics, settings
        self._arrived, self._built, self._stopped = arrived, built, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"reading-{number}", daemon=True)
            for number in range(settings.workers)
        ]

    @property
    def is_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the threads after the radiographs at hand."""
        self._stopped.set()
        with self._arrived:
            self._arrived.notify_all()
        for thread in self._threads:
            thread.join()
        self._batcher.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            item = None
            try:
                item = self._queue.take()
                if item is not None:
                    self._read(item)
                    continue
            except OSError as error:
                NODE_LOG.error("the queue cannot be written: %s", error.strerror)
                if item is not None:
                    self._queue.release(item)
            with self._arrived:
                self._arrived.wait(IDLE_SECONDS)

    def _read(self, item: QueuedRadiograph) -> None:
        """Read one radiograph and put its objects on disk, or end it by its code; OSError where the disk fails."""
        start = time.monotonic()
        code = "ok"
        try:
            if item.attempts > self._settings.attempts:
                raise Rejected("worker_died", "its reading ended the node several times")
            objects = self._build_objects(item)
        except Rejected as error:
            code = error.code
            self._refuse(item, code)
        except Exception as error:
            code = type(error).__name__  # its text may quote the file
            self._refuse(item, "internal")
        else:
            self._queue.finish(item, objects)
            self._built.set()
        NODE_LOG.info("%s %s", item.name, code)
        self._metrics.read.labels(code).inc()
        self._metrics.read_seconds.observe(time.monotonic() - start)

    def _refuse(self, item: QueuedRadiograph, code: str) -> None:
        """End a radiograph that is none, try again where the fault may be elsewhere, else put it aside."""
        if code not in FAULT_CODES:
            self._queue.finish(item, {})
        elif item.attempts < self._settings.attempts:
            self._queue.release(item)
        else:
            self._queue.fail(item)

    def _build_objects(self, item: QueuedRadiograph) -> dict[str, bytes]:
        self._batcher.change_incoming_count(1)
        try:
            prediction = self._predictor.predict_radiograph(self._reader.read(item.path))
        finally:
            self._batcher.change_incoming_count(-1)
        if self._settings.refuse_unfamiliar:
            prediction = refuse_unfamiliar(prediction)
        arrival = datetime.datetime.fromtimestamp(item.arrival_seconds).replace(microsecond=0)
        # The same picture and models give the same UIDs: an archive that has the objects does not get them twice.
        creator = CreatorInfo(medprior.__version__, prediction.model_digest, arrival, prediction.pixel_sha256)
        return build_dicom_objects(prediction, item.path, self._settings.objects, creator)
