"""Error responses as JSON `{code, message}`, without a traceback or any part of the request."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

LOG = logging.getLogger("medprior.pages")


class Problem(HTTPException):
    """An error response to a request.

    Args:
        status: HTTP status.
        code: stable word in snake_case for programs.
        message: one sentence for people, without any part of the request.
        headers: extra response headers, such as `Retry-After`.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, message, headers)
        self.code = code


def create_problem_response(error: HTTPException) -> Response:
    """The response of a refused request."""
    code = getattr(error, "code", None) or HTTPStatus(error.status_code).name.lower()
    body = {"code": code, "message": str(error.detail)}
    return JSONResponse(body, error.status_code, headers=dict(error.headers or {}))


def handle_unexpected_error(error: Exception) -> Response:
    """The response to a bug; the log gets the exception class and line, not its message."""
    frames = traceback.extract_tb(error.__traceback__)
    location = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    LOG.error("unforeseen %s at %s", type(error).__name__, location)
    return create_problem_response(Problem(500, "internal", "an unforeseen error; it was logged"))


async def handle_http_error(request: Request, error: Exception) -> Response:
    """Handler of `HTTPException` and `Problem`; answers OPTIONS, for which no route has a method of its own."""
    assert isinstance(error, HTTPException)
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
        return create_problem_response(error)
    allowed = {"Allow": format_allowed_methods(dict(error.headers or {}).get("Allow", "GET"))}
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)
    return create_problem_response(HTTPException(error.status_code, error.detail, allowed))


def format_allowed_methods(methods: str) -> str:
    """The Allow header (RFC 9110 section 10.2.1) of a route with these `methods`, joined by commas."""
    names = {name.strip() for name in methods.split(",")} | {"OPTIONS"}
    return ", ".join(sorted(names | {"HEAD"} if "GET" in names else names))


async def handle_invalid_request(_: Request, error: Exception) -> Response:
    """Handler of invalid arguments: names the fields, quotes no value."""
    assert isinstance(error, RequestValidationError)
    fields = [".".join(str(key) for key in detail["loc"]) for detail in error.errors()]
    field_list = ", ".join(dict.fromkeys(field for field in fields if field.isascii()))[:200]
    return create_problem_response(Problem(422, "invalid_request", f"these do not fit: {field_list or 'the request'}"))


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of `app` as JSON."""
    app.add_exception_handler(HTTPException, handle_http_error)
    app.add_exception_handler(RequestValidationError, handle_invalid_request)
