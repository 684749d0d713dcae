"""The HTTP service: its routes over one `RequestQueue`, and the web page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import FileResponse, Response

import medprior
from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.node.metrics import CONTENT_TYPE
from medprior.deploy.service.request_bodies import (
    RAW_MEDIA_TYPES,
    RETRY_HEADERS,
    RequestBodyLimiter,
    extract_instances,
    extract_radiograph,
)
from medprior.deploy.service.request_queue import DicomKind, RequestQueue
from medprior.deploy.service.responses import PredictionResponse, RefusalResponse, parse_include
from medprior.deploy.service.result_sender import ResultSender
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.pages.app import create_page_app
from medprior.pages.problem import Problem
from medprior.resources import find_resource_folder

SERVICE_WEB_FOLDER = Path(__file__).parent / "web"
EXAMPLE_RADIOGRAPH = (
    Path("chest_xray_segmentation") / "docs" / "example.png"
)  # below bundles; its model card credits it
BINARY_SCHEMA = {"schema": {"type": "string", "format": "binary"}}
FORM_SCHEMA = {"schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}}
IncludeQuery = Annotated[str, Query(description="masks, attention, contours, pixels, locations; joined by commas")]
REFUSAL_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": RefusalResponse, "description": "broken file or request"},
    401: {"model": RefusalResponse, "description": "no token"},
    408: {"model": RefusalResponse, "description": "the body took too long to arrive"},
    413: {"model": RefusalResponse, "description": "too large"},
    415: {"model": RefusalResponse, "description": "content type, or a form that cannot be decoded"},
    422: {"model": RefusalResponse, "description": "a whole file that is no usable chest radiograph"},
    503: {"model": RefusalResponse, "description": "busy, see Retry-After; or not ready"},
    504: {"model": RefusalResponse, "description": "not answered in time"},
}


def build_app(
    predictor: Predictor,
    reader: BoundedReader,
    settings: ServiceSettings | None = None,
    sender: ResultSender | None = None,
) -> FastAPI:
    """Build the application; the caller closes `reader` after it has stopped.

    Args:
        predictor: as `medprior.deploy.load_model` returns it.
        reader: decodes the request bodies.
        settings: access, queue and batch limits.
        sender: sends the objects of store requests on to an archive; None to send none.
    """
    settings = settings or ServiceSettings()
    request_queue = RequestQueue(predictor, reader, settings, sender)

    @asynccontextmanager
    async def run_queue(_: FastAPI) -> AsyncIterator[None]:
        """Start the queue, and close it when the application stops."""
        request_queue.start()
        yield
        await asyncio.to_thread(request_queue.close)

    app = create_page_app("medprior", settings.access, SERVICE_WEB_FOLDER, run_queue)
    app.include_router(build_health_routes(request_queue))

    @app.get("/example.png", include_in_schema=False)
    async def example() -> FileResponse:
        """A radiograph to try."""
        return FileResponse(find_resource_folder("bundles") / EXAMPLE_RADIOGRAPH)

    app.include_router(build_predict_routes(request_queue, RequestBodyLimiter(settings.held_mb * 2**20)))
    return app


def build_health_routes(request_queue: RequestQueue) -> APIRouter:
    """Build the routes `/health`, `/ready` and `/metrics`."""
    routes = APIRouter()

    @routes.get("/health", responses={503: {"description": "results are no longer sent on"}})
    def health(response: Response) -> dict[str, Any]:
        """The process is alive; where results are sent on, whether they are, and what waits."""
        state = request_queue.sender.read_health() if request_queue.sender else {"status": "alive"}
        response.status_code = 200 if state["status"] == "alive" else 503
        return state | {"medprior_version": medprior.__version__}

    @routes.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(request_queue.metrics.format_text(), media_type=CONTENT_TYPE)

    @routes.get("/ready", responses={503: {"model": RefusalResponse}})
    async def ready() -> dict[str, str]:
        """The model is loaded and has predicted on a phantom radiograph."""
        if request_queue.state != "ready":
            raise Problem(503, request_queue.state, "the self-test has not passed", RETRY_HEADERS)
        return {"status": "ready", "model_digest": request_queue.predictor.digest}

    return routes


def build_predict_routes(request_queue: RequestQueue, body_memory: RequestBodyLimiter) -> APIRouter:
    """Build the routes `/v1/predict` and `/studies`."""
    routes = APIRouter(responses=REFUSAL_RESPONSES)
    media_types = {kind: BINARY_SCHEMA for kind in sorted(RAW_MEDIA_TYPES - {""})}
    body_schema = {"requestBody": {"content": media_types | {"multipart/form-data": FORM_SCHEMA}}}

    @routes.post("/v1/predict", responses={200: {"model": PredictionResponse}}, openapi_extra=body_schema)
    async def predict(request: Request, include: IncludeQuery = "") -> Response:
        """Predict on one radiograph: DICOM, PNG, JPEG, TIFF or BMP."""
        extras = parse_include(include)
        async with body_memory.read_body(request) as body:
            data = extract_radiograph(body, request.headers.get("content-type", ""))
            return Response(await request_queue.predict_json(data, extras), media_type="application/json")

    @routes.post("/v1/dicom/{kind}", openapi_extra=body_schema)
    async def derive_dicom(request: Request, kind: DicomKind) -> Response:
        """The prediction on one DICOM file as a DICOM object for its archive; it holds the patient's name."""
        async with body_memory.read_body(request) as body:
            data = extract_radiograph(body, request.headers.get("content-type", ""))
            return Response(await request_queue.predict_dicom(data, kind), media_type="application/dicom")

    related_schema = {"requestBody": {"content": {"multipart/related": BINARY_SCHEMA}}}

    @routes.post("/studies", openapi_extra=related_schema)
    async def studies(request: Request, include: IncludeQuery = "") -> Response:
        """Predict on the instances of a DICOMweb store request; no radiograph is stored.

        Where the service sends results on, they are on disk when this is answered. The status is 200 if all
        were accepted, 202 if some were, 409 if none was, as in STOW-RS; the answer lists the instances in their order.
        """
        extras = parse_include(include)
        async with body_memory.read_body(request) as body:
            instances = extract_instances(body, request.headers.get("content-type", ""))
            parts = await predict_instances(request_queue, instances, extras)
        accepted = sum(part["status"] == "ok" for part in parts)
        status = 200 if accepted == len(parts) else 202 if accepted else 409
        content = json.dumps({"instances": parts}, separators=(",", ":"))
        return Response(content, status, media_type="application/json")

    return routes


async def predict_instances(
    request_queue: RequestQueue, instances: Sequence[bytes], include: set[str]
) -> list[dict[str, Any]]:
    """Predict on the instances of one request, as many at once as the service reads; see `predict_instance`."""
    places = asyncio.Semaphore(min(request_queue.settings.threads, request_queue.settings.queue))

    async def predict_in_turn(data: bytes) -> dict[str, Any]:
        """Predict on one instance once there is a place."""
        async with places:
            return await predict_instance(request_queue, data, include)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(predict_in_turn(data)) for data in instances]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def predict_instance(request_queue: RequestQueue, data: bytes, include: set[str]) -> dict[str, Any]:
    """Predict on one instance or return its refusal; a busy service ends the whole request."""
    try:
        answer: dict[str, Any] = json.loads(await request_queue.predict_instance(data, include))
    except Problem as problem:
        if problem.status_code >= 500:
            raise
        return {"status": "rejected", "code": problem.code, "message": str(problem.detail)}
    return answer
