"""Queues radiographs, decodes them in bounded processes and predicts on a few at a time."""

from __future__ import annotations

import asyncio
import io
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from pydantic_core import to_json

from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.inference.out_of_distribution import refuse_unfamiliar
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.service.dynamic_batching import DynamicBatcher
from medprior.deploy.service.http_status import build_rejection_problem
from medprior.deploy.service.metrics import ServiceMetrics
from medprior.deploy.service.responses import build_response, encode_pixels_json
from medprior.deploy.service.result_sender import ResultSender
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.radiograph import Radiograph
from medprior.errors import Rejected
from medprior.pages.problem import Problem

SERVICE_LOG = logging.getLogger("medprior.service")
DicomKind = Literal["seg", "sr"]


class RequestQueue:
    """Accepts a limited number of radiographs and answers each within a time limit.

    Args:
        predictor: predicts on decoded radiographs.
        reader: decodes files in processes under limits.
        settings: limits of the service.
        sender: sends the objects of store requests on; None to send none.

    Attributes:
        state: `starting`, `ready` or `failed`, by the self-test.
        metrics: counts.
        pending_count: radiographs in work or waiting.
        mean_seconds: moving average of the time per radiograph.
    """

    def __init__(
        self,
        predictor: Predictor,
        reader: BoundedReader,
        settings: ServiceSettings,
        sender: ResultSender | None = None,
    ) -> None:
        self.settings, self.reader, self.sender = settings, reader, sender
        self.metrics = sender.metrics if sender else ServiceMetrics()
        self.metrics.pending.set_function(lambda: self.pending_count)
        self.batcher = DynamicBatcher(settings.batch, settings.window_ms / 1000)
        self.predictor = self.batcher.predictor(predictor)
        self.state = "starting"
        self.pending_count = 0
        self.mean_seconds = 0.5
        self._threads = ThreadPoolExecutor(settings.threads, "reading")

    def start(self) -> None:
        """Start sending, and the self-test: a phantom radiograph through decoding and prediction."""
        if self.sender is not None:
            self.sender.start()
        self._threads.submit(self._run_self_test)

    def _run_self_test(self) -> None:
        try:
            values = self._predict(self.reader.read(create_example_dicom())).findings.values()
            valid = all(math.isfinite(p) and 0 <= p <= 1 for p in values)
            self.state = "ready" if valid else "failed"
        except Exception as error:
            SERVICE_LOG.error("self-test: %s", getattr(error, "code", type(error).__name__))
            self.state = "failed"

    def close(self) -> None:
        """Finish the accepted radiographs, then end the threads."""
        self._threads.shutdown()
        self.batcher.close()
        if self.sender is not None:
            self.sender.close()

    async def predict_json(self, data: bytes, include: set[str]) -> bytes:
        """The JSON answer to one file.

        Raises:
            Problem: 503 `busy` if too many wait, 504 `too_slow`, or the refusal of the file.
        """

        def answer_radiograph(radiograph: Radiograph) -> bytes:
            """Predict, and locate findings where that is asked for; pixels are encoded beside it."""
            with ThreadPoolExecutor(1) as thread:
                pixels = thread.submit(encode_pixels_json, radiograph.pixels) if "pixels" in include else None
                prediction = self._predict(radiograph)
                locations = self.predictor.locate_findings(prediction) if "locations" in include else None
                answer = encode_json(build_response(prediction, include - {"pixels"}, locations))
            return answer[:-1] + b',"pixels":' + pixels.result() + b"}" if pixels else answer

        return await self._submit(data, answer_radiograph)

    async def predict_instance(self, data: bytes, include: set[str]) -> bytes:
        """The JSON answer to one file of a store request, once its objects for the archive are on disk.

        Raises:
            Problem: as for `predict_json`; 422 `no_dicom` for a picture, 503 `queue_full`.
        """
        return await self._submit(data, lambda radiograph: self._keep_objects(self._predict(radiograph), data, include))

    def _keep_objects(self, prediction: RadiographPrediction, data: bytes, include: set[str]) -> bytes:
        response = build_response(prediction, include)
        if self.sender is not None:
            response["objects"] = self.sender.add_objects(prediction, data)
        return encode_json(response)

    async def predict_dicom(self, data: bytes, kind: DicomKind) -> bytes:
        """The answer to one DICOM file as a DICOM object; it holds the patient's name.

        Raises:
            Problem: as for `predict_json`; 422 `no_dicom` for a picture, `no_masks` where nothing was segmented.
        """
        return await self._submit(data, lambda radiograph: build_dicom_answer(self._predict(radiograph), data, kind))

    async def _submit(self, data: bytes, answer_radiograph: Callable[[Radiograph], bytes]) -> bytes:
        if self.pending_count >= self.settings.queue:
            retry_seconds = max(1, round(self.pending_count * self.mean_seconds / self.settings.threads))
            headers = {"Retry-After": str(min(retry_seconds, 60))}
            self.metrics.answers.labels("busy").inc()
            raise Problem(503, "busy", "too many radiographs are waiting; try again", headers)
        self.pending_count += 1
        loop = asyncio.get_running_loop()
        answer: Future[bytes] = self._threads.submit(self._answer, data, answer_radiograph)
        answer.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release_slot))
        try:
            async with asyncio.timeout(self.settings.seconds):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            self.metrics.answers.labels("too_slow").inc()
            raise Problem(504, "too_slow", "not answered in time; try again later") from None

    def _release_slot(self) -> None:
        self.pending_count -= 1

    def _answer(self, data: bytes, answer_radiograph: Callable[[Radiograph], bytes]) -> bytes:
        start, code = time.monotonic(), "internal"
        self.batcher.change_incoming_count(1)
        try:
            answer = answer_radiograph(self.reader.read(data))
            code = "ok"
            return answer
        except Rejected as error:
            code = error.code
            SERVICE_LOG.info("refused %s", code)
            raise build_rejection_problem(error) from None
        except Problem as problem:
            code = problem.code
            raise
        finally:
            self.batcher.change_incoming_count(-1)
            seconds = time.monotonic() - start
            self.mean_seconds += 0.1 * (seconds - self.mean_seconds)
            self.metrics.answers.labels(code).inc()
            self.metrics.answer_seconds.observe(seconds)

    def _predict(self, radiograph: Radiograph) -> RadiographPrediction:
        prediction = self.predictor.predict_radiograph(radiograph)
        return refuse_unfamiliar(prediction) if self.settings.refuse_unfamiliar else prediction


def encode_json(values: dict[str, Any]) -> bytes:
    """JSON without spaces, by pydantic's encoder: the text of a picture has megabytes."""
    return to_json(values)


def build_dicom_answer(prediction: RadiographPrediction, data: bytes, kind: DicomKind) -> bytes:
    """One of the DICOM objects of a prediction; raises Rejected where there is none."""
    from medprior.deploy.inference.dicom_output import build_dicom_objects  # imports highdicom, which takes seconds

    objects = build_dicom_objects(prediction, io.BytesIO(data))
    if kind not in objects:
        raise Rejected("no_masks", "the model segments nothing on this radiograph")
    return objects[kind]
