"""Security middleware: host names, origin, token, body limits and response headers.

`SecurityMiddleware` is plain ASGI and sees a request before anything else reads it. References: OWASP
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
    """ASGI middleware that checks requests and hardens responses; it must be the outermost one.

    Args:
        app: the application that answers accepted requests.
        access: who may reach it.
    """

    def __init__(self, app: ASGIApp, access: AccessSettings) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, pass it on and harden the response; web sockets are not served and closed."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await self._serve_request(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = BoundedBody(receive, self.access.max_bytes, self.access.body_seconds)
        is_head = scope["method"] == "HEAD"
        sender = SecureSender(send, body, drops_content=is_head)
        # HEAD has the headers of GET (RFC 9110 section 9.3.2).
        handled_scope = {**scope, "method": "GET"} if is_head else scope
        start_time = time.monotonic()
        response: Response | None = None
        try:
            sender.cookie = authenticate_request(Request(scope), self.access)
            check_content_length(Request(scope), self.access.max_bytes)
            check_content_encoding(Request(scope))
            await self.app(handled_scope, body.receive, sender.send)
        except Problem as problem:
            response = create_problem_response(problem)
        except Exception as error:
            response = handle_unexpected_error(error)
        if body.refusal is not None:
            response = create_problem_response(body.refusal)
        if response is not None and not sender.status:
            if response.status_code != REQUEST_TIMEOUT_STATUS:
                await body.drain()
            sender.blocks_refused = False
            await response(scope, receive, sender.send)
        # The log gets the pattern of the route, since a path may hold a name.
        route = getattr(handled_scope.get("route"), "path", "-")
        elapsed_ms = (time.monotonic() - start_time) * 1000
        LOG.info("%s %s %d %.0f ms", scope["method"], route, sender.status, elapsed_ms)


class SecureSender:
    """Adds the security headers, and drops the application's response once the body is refused.

    A response that has begun goes on. With `drops_content` it has its headers alone.
    """

    def __init__(self, send: Send, body: BoundedBody, drops_content: bool = False) -> None:
        self._send, self._body, self._drops_content = send, body, drops_content
        self.status = 0
        self.cookie: str | None = None
        self.blocks_refused = True

    async def send(self, message: Message) -> None:
        """Pass an ASGI message on."""
        if self.blocks_refused and self._body.refusal is not None and not self.status:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            if self.cookie:
                headers.append("Set-Cookie", self.cookie)
        elif self._drops_content and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def authenticate_request(request: Request, access: AccessSettings) -> str | None:
    """Check host, origin and token; returns the Set-Cookie value when the token came in the URL, else None.

    Raises:
        Problem: 400 unknown host name, 403 request from another site, 401 no valid token.
    """
    host = request.headers.get("host", "")
    if len(request.headers.getlist("host")) != 1 or not access.allows_host(parse_host_name(host)):
        raise Problem(400, "host", "this host name is not served here")
    if request.method not in SAFE_METHODS:
        check_origin(request, host)
    if not access.secret or request.url.path in access.open_paths:
        return None
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_same_secret(token.strip(), access.secret):
        return None
    name, value = access_cookie(access)
    if is_same_secret(request.query_params.get("token", ""), access.secret):
        secure = "; Secure" if came_by_https(request, access) else ""
        return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"
    if is_same_secret(request.cookies.get(name, ""), value):
        return None
    headers = {"WWW-Authenticate": "Bearer"}
    raise Problem(401, "token", "send the token, or open the file that the server named at its start", headers)


def came_by_https(request: Request, access: AccessSettings) -> bool:
    """Whether the visitor's connection is encrypted, here or by the proxy before this server."""
    if access.trust_forwarded_proto:
        return request.headers.getlist("x-forwarded-proto") == ["https"]
    return request.url.scheme == "https"


def check_origin(request: Request, host: str) -> None:
    """Raise Problem where a page of another site made the browser send the request."""
    origin = request.headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
    if is_foreign or request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise Problem(403, "cross_origin", "sent by a page of another site")


def check_content_length(request: Request, limit: int) -> None:
    """Raise Problem where the Content-Length header exceeds `limit` bytes."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > limit:
        raise create_size_problem(limit)


def check_content_encoding(request: Request) -> None:
    """Raise Problem where the body is compressed: its limits are those of the bytes that arrive."""
    encodings = request.headers.getlist("content-encoding")
    if any(name.strip().lower() not in {"", "identity"} for text in encodings for name in text.split(",")):
        # The header names what is accepted instead (RFC 9110 section 12.5.3).
        headers = {"Accept-Encoding": "identity"}
        raise Problem(415, "content_encoding", "compressed bodies are not read; send it as it is", headers)


def access_cookie(access: AccessSettings) -> tuple[str, str]:
    """Name and value of the cookie; names differ because browsers share cookies between ports."""
    return f"medprior_{access.derive_key('name')[:12]}", access.derive_key("visitor")


def parse_host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def is_same_secret(candidate: str, secret: str) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(candidate.encode(), secret.encode())
