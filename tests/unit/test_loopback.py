"""One station on this computer, asked over HTTP: what comes back, and what each kind of failure is."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from drivers.plant.rig import free_port
from station.cli.loopback import Refused, Station, call


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked; ``/gone`` is refused, ``/events`` is a stream."""

    def answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        says = {"method": self.command, "body": sent, "key": self.headers["Idempotency-Key"]}
        body = json.dumps(says).encode()
        if self.path == "/gone":
            body = b'{"detail": "There is no device."}'
        elif self.path == "/events":
            body = b'event: hb\r\ndata: {"n": 1}\r\n\r\n1f\r\nid: e:7\r\nevent: record\r\ndata: {"n": 2}\r\n'
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def test_each_command_has_a_key_of_its_own(port: int) -> None:
    first, second = (json.loads(call(port, "POST", "/v1/x", {"a": 1})) for _ in range(2))
    assert (first["method"], first["body"]) == ("POST", '{"a": 1}')
    assert first["key"] != second["key"]
    assert (await Station(port).get("/v1/x"))["method"] == "GET"
    assert json.loads(await Station(port).content("/v1/x"))["body"] == ""
    await Station(port).send("POST", "/v1/x", {})


def test_a_station_on_this_computer_is_never_asked_through_a_proxy(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy the scripted officer and the bench would wait for ever for their own station."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert call(port, "GET", "/v1/lane")


def test_a_refusal_carries_the_stations_sentence(port: int) -> None:
    with pytest.raises(Refused, match="404 There is no device") as refused:
        call(port, "GET", "/gone")
    assert (refused.value.status, refused.value.detail) == (404, "There is no device.")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"', b"{}", b"\xff"])
def test_a_refusal_without_a_sentence_has_none(body: bytes) -> None:
    assert Refused(503, body).detail == ""


def test_nobody_there_and_somebody_who_speaks_no_http_are_two_things() -> None:
    with pytest.raises(ConnectionRefusedError):
        call(free_port(), "GET", "/")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            link, _ = server.accept()
            with link:
                link.recv(1000)
                link.sendall(b"SSH-2.0-other\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(HTTPException):
            call(server.getsockname()[1], "GET", "/")
        thread.join()


async def test_a_stream_is_read_message_by_message_to_its_end(port: int) -> None:
    messages = [message async for message in Station(port).events("/events")]
    assert messages == [("hb", "", {"n": 1}), ("record", "e:7", {"n": 2})]
