"""A small station that keeps every promise of the central interface but one.

``lie`` names the promise that it breaks, as ``carril conformance`` names it. ``next`` holds what it does to
the coming requests instead of answering: HTML, a cut body, a refusal. It shares with the station only the
functions that make the bytes of a record.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from station.cli.client import Server
from tests.support.liar_blobs import Blobs
from tests.support.liar_cursor import Cursors
from tests.support.liar_directives import Directives
from tests.support.liar_journal import STATION, Liar
from tests.support.liar_link import Answer, Refusal

__all__ = ["STATION", "Liar", "cuts", "hangs_up", "lying", "refuses", "says_nothing"]

KNOWN = ("feed", "records", "consumers", "blobs", "checkpoints", "directives")
METHODS = {"ack": "POST", "receipt": "POST", "retry": "POST"}
OF_RESOURCE = {"blobs": "GET, HEAD", "directives": "GET, PUT"}


class Handler(Cursors, Blobs, Directives):
    """Finds the route."""

    def route(self, path: str) -> Answer:
        liar = self.liar
        parts = path.strip("/").split("/")
        methods = METHODS.get(parts[-1]) or OF_RESOURCE.get((*parts, "")[1], "GET")
        body = self.body()
        if parts[0] != "v1" or (len(parts) > 1 and parts[1] not in KNOWN):
            if liar.lie == "paths":
                return 404, {"Content-Type": "text/html"}, b"<h1>Not found</h1>"
            raise Refusal(404, "not-found")
        if self.command not in methods.split(", ") and liar.lie != "methods":
            raise Refusal(405, "method-not-allowed", headers={"Allow": methods})
        match parts[1:]:
            case []:
                return self.json(self.index())
            case ["feed"]:
                return self.feed()
            case ["checkpoints"]:
                return self.checkpoints()
            case ["records", seq]:
                return self.record(int(seq))
            case ["blobs", name, "receipt"]:
                return self.receipt(name, body)
            case ["blobs", name]:
                return self.blob(name)
            case ["directives", name]:
                return self.put_directive(name, body) if self.command == "PUT" else self.directive(name)
            case ["consumers", name, "ack"]:
                return self.ack(name, body)
            case ["consumers", name, "quarantine", seq, "retry"]:
                return self.retry(name, int(seq))
            case ["consumers", name, "quarantine"]:
                return self.quarantine(name)
            case _:
                return self.consumer(parts[2])


# --- tricks for ``next`` --------------------------------------------------------------------------


def refuses(status: int, name: str = "", **headers: str) -> Any:
    """Answer with a refusal: a problem, or HTML without a name."""

    def trick(handler: Handler) -> bool:
        if name:
            handler.reply(*handler.problem(Refusal(status, name, headers=headers)))
        else:
            handler.reply(status, {"Content-Type": "text/html"} | headers, b"<html>Bad gateway</html>")
        return True

    return trick


def cuts(share: float) -> Any:
    """Send only this share of the body, and end the connection."""

    def trick(handler: Handler) -> bool:
        try:
            status, headers, body = handler.route(urlsplit(handler.path).path)
        except Refusal as refusal:
            status, headers, body = handler.problem(refusal)
        headers["Content-Length"] = str(len(body))
        handler.reply(status, headers, body[: int(len(body) * share)])
        handler.close_connection = True
        return True

    return trick


def hangs_up(handler: Handler) -> bool:
    """Say nothing."""
    handler.close_connection = True
    return True


def says_nothing(handler: Handler) -> bool:
    """Answer with an object that has no members."""
    handler.reply(*handler.json({}))
    return True


# --- the port -------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is no news."""


@contextlib.contextmanager
def lying(liar: Liar, port: int = 0) -> Iterator[Server]:
    """Serve the liar until the block ends."""
    handler = type("LiarHandler", (Handler,), {"liar": liar})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        liar.port = server.server_port
        try:
            liar.stops.clear()
            yield Server("127.0.0.1", server.server_port)
        finally:
            liar.stops.set()
            server.shutdown()
            thread.join()
