"""One connection to the liar: requests in, answers and problems out."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.support.liar_journal import Liar

MIB = 1 << 20
Answer = tuple[int, dict[str, str], bytes]


class Refusal(Exception):
    """An answer that is a problem."""

    def __init__(self, status: int, name: str, **members: Any) -> None:
        super().__init__(name)
        self.status, self.name = status, name
        self.headers: dict[str, str] = members.pop("headers", {})
        self.members = members


def invalid(*fields: str) -> Refusal:
    """A body in which these fields are wrong."""
    return Refusal(422, "invalid", errors=[{"field": field} for field in fields])


class Link(BaseHTTPRequestHandler):
    """What every route of the liar uses."""

    protocol_version = "HTTP/1.1"
    liar: Liar

    def setup(self) -> None:
        super().setup()
        self.deadline = threading.Timer(self.liar.header_s, self.cut)
        self.deadline.daemon = True
        if self.liar.lie != "header":
            self.deadline.start()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle_one_request()
            return
        self.close_connection = True

    def answer(self) -> None:
        self.deadline.cancel()
        self.connection.settimeout(10)
        path = urlsplit(self.path).path
        self.liar.asked.append(f"{self.command} {self.path}")
        try:
            if self.liar.next:
                trick = self.liar.next.popleft()
                if trick is not None and trick(self):
                    return
            status, headers, body = self.route(path)
        except Refusal as refusal:
            status, headers, body = self.problem(refusal)
        self.reply(status, headers, body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def route(self, path: str) -> Answer:
        raise NotImplementedError

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def problem(self, refusal: Refusal) -> Answer:
        body = {"type": f"urn:carril:problem:{refusal.name}", "title": refusal.name, "status": refusal.status}
        kind = {"Content-Type": "application/problem+json"} | refusal.headers
        return refusal.status, kind, json.dumps(body | {"detail": "No."} | refusal.members).encode()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def json(self, value: Any, status: int = 200) -> Answer:
        return status, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def body(self) -> bytes:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size and self.liar.lie != "half-body":
            raise ConnectionAbortedError
        if size > MIB:
            if self.liar.lie == "too-large":
                raise Refusal(422, "invalid")
            raise Refusal(413, "too-large", limit=MIB)
        return body
