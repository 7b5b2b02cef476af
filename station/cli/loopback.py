"""A station on this computer, asked over its public routes, as a screen or a central system asks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from station.cli.client import Server, ask

HOST = "127.0.0.1"
TIMEOUT_S = 5.0
MAX_LINE = 1 << 24
"""Bytes of one message on the stream of screens at most."""


class Refused(OSError):
    """The answer has another status than 2xx; ``detail`` is the station's sentence, empty if it gave none."""

    def __init__(self, status: int, body: bytes) -> None:
        """Read a problem document."""
        self.status, self.detail = status, ""
        with contextlib.suppress(ValueError, LookupError, TypeError):
            self.detail = str(json.loads(body)["detail"])
        super().__init__(f"{status} {self.detail}")


def call(
    port: int, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = TIMEOUT_S
) -> bytes:
    """Send one request and return the body of its answer; blocks, at most ``timeout_s`` for each step.

    Raises ``Refused``, another ``OSError`` when nobody answers, or ``http.client.HTTPException`` when what
    answers does not speak HTTP.
    """
    headers = {"Content-Type": "application/json", "X-Carril": "1", "Idempotency-Key": str(uuid.uuid4())}
    content = None if body is None else json.dumps(body).encode()
    answer = ask(Server(HOST, port), method, path, content, headers, timeout_s)
    if not 200 <= answer.status < 300:
        raise Refused(answer.status, answer.body)
    return answer.body


class Station:
    """``call`` for the event loop: it blocks in threads."""

    def __init__(self, port: int) -> None:
        """Speak to loopback."""
        self._port = port

    async def get(self, path: str, timeout_s: float = TIMEOUT_S) -> Any:
        """Return the JSON behind a path; raises what ``call`` raises."""
        return json.loads(await self.content(path, timeout_s))

    async def content(self, path: str, timeout_s: float = TIMEOUT_S) -> bytes:
        """Return the bytes behind a path; raises what ``call`` raises."""
        return await asyncio.to_thread(call, self._port, "GET", path, None, timeout_s)

    async def send(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Send a command as a screen or a central system would; raises what ``call`` raises."""
        await asyncio.to_thread(call, self._port, method, path, body)

    async def events(self, path: str) -> AsyncIterator[tuple[str, str, Any]]:
        """Yield event, id and data of each message of a stream, until the station closes it."""
        reader, writer = await asyncio.open_connection(HOST, self._port, limit=MAX_LINE)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            event = record_id = ""
            while line := await reader.readline():  # between messages stand lines of HTTP, which say nothing
                name, _, value = line.decode().rstrip("\r\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "id":
                    record_id = value
                elif name == "data":
                    yield event, record_id, json.loads(value)
        finally:
            writer.close()
