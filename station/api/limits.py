"""A request body has at most 1 MiB, whether it says so or not, and comes within 30 s."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from station.api.problems import Problem

MAX_BODY_BYTES = 1024 * 1024
BODY_S = 30.0
_DRAINED_TIMES = 16


class _TooLarge(Exception):
    """The body is longer than allowed."""


class BodyLimit:
    """Reads the body before the application does, and refuses a longer one."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or refuse it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None or not ("content-length" in headers or "transfer-encoding" in headers):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._body(headers, receive)
        except TimeoutError:
            slow = Problem(
                408,
                "request-timeout",
                f"The body was not complete after {BODY_S:g} s.",
                headers={"Connection": "close"},
            )
            await slow.response()(scope, receive, send)
            return
        except _TooLarge:
            # The rest may not have been read, so the connection cannot be used again.
            refusal = Problem(
                413,
                "too-large",
                f"A body has at most {self._limit} bytes.",
                headers={"Connection": "close"},
                limit=self._limit,
            )
            await refusal.response()(scope, receive, send)
            return
        if body is None:
            return  # half a request is none
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """Return the whole body, or ``None`` when the client went away within it."""
        declared = headers.get("content-length", "0")
        patience = self._limit * _DRAINED_TIMES
        if declared.isdigit() and int(declared) > patience:
            raise _TooLarge
        body = b""
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            size += len(message.get("body", b""))
            if size > patience:
                break
            # What is too long is read and dropped: a client that still writes would not hear the refusal.
            body = body + message.get("body", b"") if size <= self._limit else b""
            more = message.get("more_body", False)
        if size > self._limit:
            raise _TooLarge
        return body
