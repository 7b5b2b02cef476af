"""A server asked over HTTP, one connection a request, with a limit on time and bytes of each answer."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from station.cli.errors import UserError

TIMEOUT_S = 10.0
MOST_BYTES = 64 * 1024 * 1024
"""Of one body that is held in memory; a page has 4 MiB, or one record of 1 MiB more."""
PART_BYTES = 64 * 1024
_TOTAL = 3.0
"""A whole answer may take this many times what one step of it may."""
_PROBLEM = "urn:carril:problem:"


class Server(NamedTuple):
    """Where a station answers."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a person writes it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body; no status is an exception."""

    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the JSON object of the body; raises ``ValueError``."""
        try:
            value = json.loads(self.body)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
        if not isinstance(value, dict):
            raise ValueError("it is no JSON object")
        return value

    def problem(self) -> dict[str, Any]:
        """Return the members of a problem, ``name`` among them; empty when the body is none."""
        with contextlib.suppress(ValueError):
            members = self.json()
            kind = members.get("type")
            if isinstance(kind, str) and kind.startswith(_PROBLEM):
                return members | {"name": kind.removeprefix(_PROBLEM)}
        return {}

    def told(self) -> str:
        """Return status, name and sentence of a refusal."""
        problem = self.problem()
        return (
            f"{self.status} {problem['name']}: {problem.get('detail', '')}" if problem else str(self.status)
        )


class Later(Exception):
    """Not now: the same again after a pause, of ``wait_s`` at least."""

    def __init__(self, sentence: str, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s


def no_answer(error: Exception) -> Later:
    """Return what a failure of ``ask`` or ``opened`` means for who can wait."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Later(f"the station does not answer ({reason.lower()})")


def raise_later(answer: Answer) -> None:
    """Raise ``Later`` for a status that may be another in a moment, as long as it asks for."""
    if answer.status in (408, 429) or answer.status >= 500:
        told = answer.headers.get("Retry-After", "")
        raise Later(f"not now ({answer.told()})", int(told) if told.isdecimal() and len(told) < 6 else 0)


def server(text: str) -> Server:
    """Return the server that an argument names."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise argparse.ArgumentTypeError(f"{text}: give the address of a station like http://127.0.0.1:8080")
    return Server(parts.hostname, 80 if port is None else port)


@contextlib.contextmanager
def opened(
    server: Server,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    total_s: float | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send one request and give its answer, whose body is not read yet.

    A step may take ``timeout_s``, all of it ``total_s``: a server that sends a byte now and then must not
    hold us. Raises ``OSError`` when nobody answers, ``http.client.HTTPException`` when it is no HTTP.
    """
    # Not urllib, which would send this to the proxy that the environment names.
    connection = http.client.HTTPConnection(server.host, server.port, timeout=timeout_s)
    connection.connect()
    sock = connection.sock
    timer = threading.Timer(_TOTAL * timeout_s if total_s is None else total_s, _cut, (sock,))
    timer.daemon = True
    timer.start()
    try:
        connection.request(method, path, body, dict(headers or {}))
        with connection.getresponse() as reply:
            yield reply
    finally:
        timer.cancel()
        connection.close()


def asked(station: Server, path: str, timeout_s: float = TIMEOUT_S, most_bytes: int = MOST_BYTES) -> Answer:
    """Return a station's answer for a person; raises ``UserError`` with what is wrong instead."""
    other = "give the address of one"
    try:
        answer = ask(station, "GET", path, timeout_s=timeout_s, most_bytes=most_bytes)
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        raise UserError(f"no station answers at {station.url} ({reason}); {other}", 1) from error
    except (http.client.HTTPException, ValueError) as error:
        raise UserError(f"what answers at {station.url} is no Carril station; {other}", 1) from error
    if answer.status != http.client.OK:
        raise UserError(f"{station.url}: {answer.problem().get('detail') or answer.told()}", 1)
    return answer


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def parts_of(reply: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the body; raises ``http.client.IncompleteRead`` when it ends early."""
    while part := reply.read(PART_BYTES):
        yield part
    if reply.length:
        raise http.client.IncompleteRead(b"", reply.length)


def ask(
    server: Server,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    most_bytes: int = MOST_BYTES,
) -> Answer:
    """Send one request and return the answer; raises what ``opened`` and ``parts_of`` raise."""
    with opened(server, method, path, body, headers, timeout_s) as reply:
        content = bytearray()
        for part in parts_of(reply):
            content += part
            if len(content) > most_bytes:
                raise http.client.HTTPException(f"the body has more than {most_bytes} bytes")
        return Answer(reply.status, reply.headers, bytes(content))
