"""Access settings of one page or service: address, token, host names and body limits."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, SecretStr

from medprior.errors import InputMissing, MedpriorError
from medprior.settings import Settings

MIN_TOKEN_CHARACTERS = 16
MEBIBYTE = 2**20


class AccessSettings(Settings):
    """Who may reach one server, and how much they may send.

    Attributes:
        host: address to listen on; anything but loopback needs a token.
        port: 0 takes a free one.
        token: required of every visitor when set, except on `open_paths`.
        names: further host names that requests may name, such as that of a proxy.
        max_bytes: largest request body.
        header_seconds: a connection without a complete request header for this long is closed,
            at the latest after twice this time.
        body_seconds: longest time a request body may take to arrive.
        max_connections: open connections; one more is answered with 503.
        trust_forwarded_proto: believe one X-Forwarded-Proto header. Only for a server that is reached
            through a proxy alone, one that sets this header itself.
        open_paths: answered without a token; they report only the state of the server.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    token: SecretStr | None = None
    names: tuple[str, ...] = ()
    max_bytes: int = Field(default=64 * MEBIBYTE, gt=0)
    header_seconds: float = Field(default=10.0, gt=0)
    body_seconds: float = Field(default=60.0, gt=0)
    max_connections: int = Field(default=256, ge=1)
    trust_forwarded_proto: bool = False
    open_paths: tuple[str, ...] = ("/health", "/ready")

    @property
    def secret(self) -> str:
        """The token; empty when none is required."""
        return self.token.get_secret_value() if self.token else ""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host == "localhost" or is_ip_address(self.host, loopback=True)

    def derive_key(self, purpose: str) -> str:
        """Hex HMAC-SHA256 of `purpose` under the token: no cookie holds the token itself."""
        return hmac.new(self.secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def bare_url(self, port: int) -> str:
        """The address without a token, to be printed: logs keep it."""
        name = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{port}/"

    def url(self, port: int) -> str:
        """The address to open in a browser, with the token where one is required; see `write_entry_page`."""
        return self.bare_url(port) + (f"?token={quote(self.secret)}" if self.secret else "")

    def allows_host(self, name: str) -> bool:
        """Whether a request may name this host.

        A foreign page can make its own name point to this server (DNS rebinding), but not an
        address. Addresses, `localhost`, this machine's name and `names` are therefore allowed.
        """
        name = name.lower().rstrip(".")
        allowed_names = {"localhost", self.host.lower(), *(alias.lower() for alias in self.names)}
        if not self.is_loopback:
            allowed_names.add(socket.gethostname().lower())
        return name in allowed_names or is_ip_address(name, loopback=self.is_loopback)

    def require_safe(self) -> AccessSettings:
        """Return these settings if a server may listen with them.

        Raises:
            MedpriorError: other machines could connect without a token, or the token is too short.
        """
        if not self.is_loopback and not self.secret:
            raise MedpriorError(
                "other machines could reach it without a token",
                where=f"--host {self.host}",
                fix="give --token-file FILE, or stay at 127.0.0.1 behind a proxy with a login",
            )
        if self.secret and (len(self.secret) < MIN_TOKEN_CHARACTERS or not self.secret.isprintable()):
            raise MedpriorError(
                "the token is too easy to guess",
                where="--token-file",
                expected=f"at least {MIN_TOKEN_CHARACTERS} printable characters",
                found=f"{len(self.secret)}",
                fix="head -c 32 /dev/urandom | base64 > FILE",
            )
        return self


def is_ip_address(name: str, *, loopback: bool) -> bool:
    """Whether `name` is an IP address; with `loopback`, whether it is one of this machine itself."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or not loopback


def read_token(path: Path | None) -> SecretStr | None:
    """The first line of a token file; None for no file.

    Raises:
        InputMissing: the file does not exist or its first line is empty.
    """
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        lines = [""]
    if not lines[0].strip():
        raise InputMissing("no token in it", where=str(path), fix="check --token-file")
    return SecretStr(lines[0].strip())
