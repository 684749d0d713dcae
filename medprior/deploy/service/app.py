"""The HTTP service: routes over one `Desk`, and the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import Response

import medprior
from medprior.deploy.inference.predictor import Predictor
from medprior.deploy.service.request_bodies import (
    RAW_MEDIA_TYPES,
    RETRY_HEADERS,
    BodyMemory,
    extract_instances,
    extract_radiograph,
)
from medprior.deploy.service.request_queue import RequestQueue
from medprior.deploy.service.responses import PredictionResponse, RefusalResponse, parse_include
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.pages.app import create_page_app
from medprior.pages.problem import Problem

SERVICE_WEB_FOLDER = Path(__file__).parent / "web"
BINARY_SCHEMA = {"schema": {"type": "string", "format": "binary"}}
FORM_SCHEMA = {"schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}}
IncludeQuery = Annotated[str, Query(description="masks, attention, contours, pixels; joined by commas")]
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


def build_app(predictor: Predictor, reader: BoundedReader, settings: ServiceSettings | None = None) -> FastAPI:
    """The application; the caller closes `reader` after it has stopped.

    Args:
        predictor: of `medprior.deploy.load_model`.
        reader: decodes what visitors send.
        settings: door, queue, batch.
    """
    settings = settings or ServiceSettings()
    desk = RequestQueue(predictor, reader, settings)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        """From start to stop."""
        desk.start()
        yield
        await asyncio.to_thread(desk.close)

    app = create_page_app("medprior", settings.access, SERVICE_WEB_FOLDER, living)
    app.include_router(build_health_routes(desk))
    app.include_router(build_predict_routes(desk, BodyMemory(settings.held_mb * 2**20)))
    return app


def build_health_routes(desk: RequestQueue) -> APIRouter:
    """`/health` and `/ready`."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive", "medprior_version": medprior.__version__}

    @routes.get("/ready", responses={503: {"model": RefusalResponse}})
    async def ready() -> dict[str, str]:
        """The model is loaded and has read a generated radiograph."""
        if desk.state != "ready":
            raise Problem(503, desk.state, "the self-test has not passed", RETRY_HEADERS)
        return {"status": "ready", "model_digest": desk.predictor.digest}

    return routes


def build_predict_routes(desk: RequestQueue, holding: BodyMemory) -> APIRouter:
    """`/v1/predict` and `/studies`."""
    routes = APIRouter(responses=REFUSAL_RESPONSES)
    kinds = {kind: BINARY_SCHEMA for kind in sorted(RAW_MEDIA_TYPES - {""})}
    described = {"requestBody": {"content": kinds | {"multipart/form-data": FORM_SCHEMA}}}

    @routes.post("/v1/predict", responses={200: {"model": PredictionResponse}}, openapi_extra=described)
    async def predict(request: Request, include: IncludeQuery = "") -> Response:
        """Read one radiograph: DICOM, PNG or JPEG."""
        asked = parse_include(include)
        async with holding.body(request) as body:
            data = extract_radiograph(body, request.headers.get("content-type", ""))
            return Response(await desk.predict_json(data, asked), media_type="application/json")

    related = {"requestBody": {"content": {"multipart/related": BINARY_SCHEMA}}}

    @routes.post("/studies", openapi_extra=related)
    async def studies(request: Request, include: IncludeQuery = "") -> Response:
        """Read the instances of a DICOMweb store request; nothing is stored.

        200 all were read, 202 some were, 409 none was, as STOW-RS has it; the answer lists them in
        their order.
        """
        asked = parse_include(include)
        async with holding.body(request) as body:
            instances = extract_instances(body, request.headers.get("content-type", ""))
            parts = [await predict_instance(desk, data, asked) for data in instances]
        read = sum(part["status"] == "ok" for part in parts)
        status = 200 if read == len(parts) else 202 if read else 409
        content = json.dumps({"instances": parts}, separators=(",", ":"))
        return Response(content, status, media_type="application/json")

    return routes


async def predict_instance(desk: RequestQueue, data: bytes, include: set[str]) -> dict[str, Any]:
    """One instance's answer, or its refusal; only a busy service ends the whole request."""
    try:
        found: dict[str, Any] = json.loads(await desk.predict_json(data, include))
    except Problem as problem:
        if problem.status_code >= 500:
            raise
        return {"status": "rejected", "code": problem.code, "message": str(problem.detail)}
    return found
