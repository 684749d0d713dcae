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
from medprior.deploy.service.request_bodies import RAW, Holding, instances_of, radiograph_of
from medprior.deploy.service.request_queue import Desk
from medprior.deploy.service.responses import Answer, Refusal, wanted
from medprior.deploy.service.settings import ServiceSettings
from medprior.dicom.bounded_reader import BoundedReader
from medprior.pages.app import page_app
from medprior.pages.problem import Problem

WEB = Path(__file__).parent / "web"
BINARY = {"schema": {"type": "string", "format": "binary"}}
FORM = {
    "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
}
Include = Annotated[str, Query(description="masks, attention, contours, pixels; joined by commas")]
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "broken file or request"},
    401: {"model": Refusal, "description": "no token"},
    408: {"model": Refusal, "description": "the body took too long to arrive"},
    413: {"model": Refusal, "description": "too large"},
    415: {"model": Refusal, "description": "content type, or a form that cannot be decoded"},
    422: {"model": Refusal, "description": "a whole file that is no usable chest radiograph"},
    503: {"model": Refusal, "description": "busy, see Retry-After; or not ready"},
    504: {"model": Refusal, "description": "not answered in time"},
}


def build_app(
    predictor: Predictor, reader: BoundedReader, settings: ServiceSettings | None = None
) -> FastAPI:
    """The application; the caller closes `reader` after it has stopped.

    Args:
        predictor: of `medprior.deploy.load_model`.
        reader: decodes what visitors send.
        settings: door, queue, batch.
    """
    settings = settings or ServiceSettings()
    desk = Desk(predictor, reader, settings)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        """From start to stop."""
        desk.start()
        yield
        await asyncio.to_thread(desk.close)

    app = page_app("medprior", settings.access, WEB, living)
    app.include_router(state_routes(desk))
    app.include_router(reading_routes(desk, Holding(settings.held_mb * 2**20)))
    return app


def state_routes(desk: Desk) -> APIRouter:
    """`/health` and `/ready`."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "alive", "medprior_version": medprior.__version__}

    @routes.get("/ready", responses={503: {"model": Refusal}})
    async def ready() -> dict[str, str]:
        """The model is loaded and has read a generated radiograph."""
        if desk.state != "ready":
            raise Problem(503, desk.state, "the self-test has not passed", {"Retry-After": "2"})
        return {"status": "ready", "model_digest": desk.predictor.digest}

    return routes


def reading_routes(desk: Desk, holding: Holding) -> APIRouter:
    """`/v1/predict` and `/studies`."""
    routes = APIRouter(responses=REFUSALS)
    kinds = {kind: BINARY for kind in sorted(RAW - {""})}
    described = {"requestBody": {"content": kinds | {"multipart/form-data": FORM}}}

    @routes.post("/v1/predict", responses={200: {"model": Answer}}, openapi_extra=described)
    async def predict(request: Request, include: Include = "") -> Response:
        """Read one radiograph: DICOM, PNG or JPEG."""
        asked = wanted(include)
        async with holding.body(request) as body:
            data = radiograph_of(body, request.headers.get("content-type", ""))
            return Response(await desk.answered(data, asked), media_type="application/json")

    related = {"requestBody": {"content": {"multipart/related": BINARY}}}

    @routes.post("/studies", openapi_extra=related)
    async def studies(request: Request, include: Include = "") -> Response:
        """Read the instances of a DICOMweb store request; nothing is stored.

        200 all were read, 202 some were, 409 none was, as STOW-RS has it; the answer lists them in
        their order.
        """
        asked = wanted(include)
        async with holding.body(request) as body:
            instances = instances_of(body, request.headers.get("content-type", ""))
            parts = [await one_of_many(desk, data, asked) for data in instances]
        read = sum(part["status"] == "ok" for part in parts)
        status = 200 if read == len(parts) else 202 if read else 409
        content = json.dumps({"instances": parts}, separators=(",", ":"))
        return Response(content, status, media_type="application/json")

    return routes


async def one_of_many(desk: Desk, data: bytes, include: set[str]) -> dict[str, Any]:
    """One instance's answer, or its refusal; only a busy service ends the whole request."""
    try:
        found: dict[str, Any] = json.loads(await desk.answered(data, include))
    except Problem as problem:
        if problem.status_code >= 500:
            raise
        return {"status": "rejected", "code": problem.code, "message": str(problem.detail)}
    return found
