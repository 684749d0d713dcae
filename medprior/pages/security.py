"""What stands before every page: host names, origin, token, body limits, headers, no tracebacks.

`Guard` is plain ASGI, so that it sees a request before anything else reads it. References: OWASP
ASVS 4.0.3 sections 3.4 (cookies), 13.2 (cross-site requests) and 14.4 (headers).
"""

from __future__ import annotations

import hmac
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medprior.pages.access import AccessSettings
from medprior.pages.body import BoundedBody, create_size_problem
from medprior.pages.problem import Problem, create_problem_response, handle_unexpected_error

LOG = logging.getLogger("medprior.pages")
REQUEST_TIMEOUT_STATUS = 408
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityMiddleware:
    """ASGI middleware; put it outermost.

    Args:
        app: what answers the requests that pass.
        access: the door.
    """

    def __init__(self, app: ASGIApp, access: AccessSettings) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, answer, harden; web sockets are closed, there are none here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self._serve_request(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = BoundedBody(receive, self.access.max_bytes, self.access.body_seconds)
        outlet = SecureSender(send, body)
        start = time.monotonic()
        response: Response | None = None
        try:
            outlet.cookie = authenticate_request(Request(scope), self.access)
            check_content_length(Request(scope), self.access.max_bytes)
            await self.app(scope, body.receive, outlet.send)
        except Problem as problem:
            response = create_problem_response(problem)
        except Exception as error:
            response = handle_unexpected_error(error)
        if body.refusal is not None:
            response = create_problem_response(body.refusal)
        if response is not None and not outlet.status:
            if response.status_code != REQUEST_TIMEOUT_STATUS:
                await body.drain()
            outlet.muted = False
            await response(scope, receive, outlet.send)
        # The pattern of the route, since a path may name somebody.
        route = getattr(scope.get("route"), "path", "-")
        spent = (time.monotonic() - start) * 1000
        LOG.info("%s %s %d %.0f ms", scope["method"], route, outlet.status, spent)


class SecureSender:
    """The way out: adds the headers; what a page says of a refused body is not passed on."""

    def __init__(self, send: Send, body: BoundedBody) -> None:
        self._send, self._body = send, body
        self.status = 0
        self.cookie: str | None = None
        self.muted = True

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if self.muted and self._body.refusal is not None and not self.status:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            if self.cookie:
                headers.append("Set-Cookie", self.cookie)
        await self._send(message)


def authenticate_request(request: Request, access: AccessSettings) -> str | None:
    """The cookie to set on a visitor who came with the token in the address, else None.

    Raises:
        Problem: 400 unknown host name, 403 sent by another site's page, 401 no valid token.
    """
    host = request.headers.get("host", "")
    if len(request.headers.getlist("host")) != 1 or not access.allows_host(parse_host_name(host)):
        raise Problem(400, "host", "this host name is not served here")
    if request.method not in SAFE_METHODS:
        check_origin(request, host)
    if not access.secret or request.url.path in access.open_paths:
        return None
    given = request.headers.get("authorization", "")
    kind, _, word = given.partition(" ")
    if kind.lower() == "bearer" and is_same_secret(word.strip(), access.secret):
        return None
    name, value = access_cookie(access)
    if is_same_secret(request.query_params.get("token", ""), access.secret):
        secure = "; Secure" if request.url.scheme == "https" else ""
        return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"
    if is_same_secret(request.cookies.get(name, ""), value):
        return None
    headers = {"WWW-Authenticate": "Bearer"}
    raise Problem(401, "token", "open the address that the server printed at its start", headers)


def check_origin(request: Request, host: str) -> None:
    """Problem where a page of another site made the browser send this."""
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    if foreign or request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise Problem(403, "cross_origin", "sent by a page of another site")


def check_content_length(request: Request, limit: int) -> None:
    """Problem where the body announces that it is too large."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > limit:
        raise create_size_problem(limit)


def access_cookie(access: AccessSettings) -> tuple[str, str]:
    """Name and value of the cookie; servers of one machine share a jar, so names differ."""
    return f"medprior_{access.derive_key('name')[:12]}", access.derive_key("visitor")


def parse_host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def is_same_secret(given: str, wanted: str) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(given.encode(), wanted.encode())
