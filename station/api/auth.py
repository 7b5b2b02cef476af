"""Who may speak to the station before anybody can sign in: programs and screens of this computer alone.

A browser on this computer also runs pages from elsewhere. Three checks keep them out: the Host header must
name this computer (against a foreign name that resolves to it), an Origin header must be our own, and a
command must carry ``X-Carril: 1``, which a foreign page cannot send without being asked first.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from station.api.problems import Problem

COMMAND_HEADER = "X-Carril"
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BY_PROGRAMS = re.compile(r"/v1/consumers/[^/]+/(ack|quarantine/[^/]+/retry)|/v1/blobs/[^/]+/receipt")
"""What a central system posts; it is no browser and needs no command header."""


class LocalOnly:
    """Outermost application: refuses everybody else, and sets the security headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, then let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        refusal = _refusal(scope, Headers(scope=scope))
        app = refusal.response() if refusal else self._app
        await app(scope, receive, send_guarded)


def _refusal(scope: Scope, headers: Headers) -> Problem | None:
    client = scope.get("client")
    if client and not _is_loopback(client[0]):
        return Problem(
            403, "forbidden", f"{client[0]} is another computer: this station serves its own only."
        )
    host = headers.get("host", "")
    if not _is_loopback(_name(host)):
        return Problem(403, "forbidden", f"Host {host!r} is not this computer: use 127.0.0.1 or localhost.")
    origin = headers.get("origin")
    if origin is not None and origin != f"{scope.get('scheme', 'http')}://{host}":
        return Problem(403, "forbidden", f"Origin {origin!r} is not this station.")
    command = scope["method"] not in _READING and not _BY_PROGRAMS.fullmatch(scope["path"])
    if command and headers.get(COMMAND_HEADER) != "1":
        return Problem(403, "forbidden", f"A command must carry the header {COMMAND_HEADER}: 1.")
    return None


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
