"""What no client should send, as bytes on a socket: each answer is a problem of the catalogue, no page."""

from __future__ import annotations

import asyncio
import json

import pytest

from station.api.problems import PROBLEMS
from tests.support.journal import append, draft
from tests.support.served import Served

HOST, COMMAND = b"Host: localhost", b"X-Carril: 1"
JSON = b"Content-Type: application/json"
ACK = b"POST /v1/consumers/central/ack HTTP/1.1"


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, *headers, b"", body])


def ack(body: bytes, *headers: bytes) -> bytes:
    return request(ACK, HOST, b"Content-Length: %d" % len(body), *headers, body=body)


ODD = {
    # No such place.
    "unknown": (request(b"GET /v1/nothing HTTP/1.1", HOST), "not-found"),
    "slash": (request(b"GET /v1/ HTTP/1.1", HOST), "not-found"),
    "double slash": (request(b"GET //v1 HTTP/1.1", HOST), "not-found"),
    "dots": (request(b"GET /v1/../pyproject.toml HTTP/1.1", HOST), "not-found"),
    "asterisk": (request(b"OPTIONS * HTTP/1.1", HOST), "not-found"),
    "connect": (request(b"CONNECT localhost:80 HTTP/1.1", HOST, COMMAND), "not-found"),
    "a long name": (request(b"GET /v1/" + b"a" * 60_000 + b" HTTP/1.1", HOST), "not-found"),
    "a name that is no text": (request(b"GET /v1/consumers/%ff%00 HTTP/1.1", HOST), "not-found"),
    "half a pair": (request(b"GET /v1/inspections/%ed%a0%80 HTTP/1.1", HOST), "not-found"),
    "a websocket": (
        request(b"GET /v1/none HTTP/1.1", HOST, b"Connection: Upgrade", b"Upgrade: websocket"),
        "not-found",
    ),
    "http/1.0": (request(b"GET /v1/nothing HTTP/1.0", HOST), "not-found"),
    # No such method.
    "post": (request(b"POST /v1/feed HTTP/1.1", HOST, COMMAND), "method-not-allowed"),
    "options": (request(b"OPTIONS /v1/feed HTTP/1.1", HOST), "method-not-allowed"),
    "trace": (request(b"TRACE /v1 HTTP/1.1", HOST, COMMAND), "method-not-allowed"),
    "made up": (request(b"BREW /v1 HTTP/1.1", HOST, COMMAND), "method-not-allowed"),
    "the description": (request(b"PUT /v1/openapi.json HTTP/1.1", HOST, COMMAND), "method-not-allowed"),
    "the screen": (request(b"DELETE / HTTP/1.1", HOST, COMMAND), "method-not-allowed"),
    # Not for this client.
    "no command": (request(b"PUT /v1/feed HTTP/1.1", HOST), "forbidden"),
    "no host": (request(b"GET /v1 HTTP/1.0"), "forbidden"),
    "half a host": (request(b"GET /v1 HTTP/1.1", b"Host: [::1"), "forbidden"),
    # No such number.
    "a long number": (request(b"GET /v1/records/" + b"9" * 6_000 + b" HTTP/1.1", HOST), "bad-parameter"),
    "a long cursor": (
        request(b"GET /v1/wait-times?after=" + b"9" * 6_000 + b" HTTP/1.1", HOST),
        "bad-parameter",
    ),
    "no percent": (request(b"GET /v1/feed?after=%zz HTTP/1.1", HOST), "bad-parameter"),
    # No such body.
    "half of it": (ack(b"{", JSON), "invalid"),
    "nul": (ack(b"\0", JSON), "invalid"),
    "digits": (ack(b"9" * 6_000, JSON), "invalid"),
    "deep": (ack(b"[" * 100_000, JSON), "invalid"),
    "no text": (ack(b"\xff", JSON), "invalid"),
    "a form": (ack(b"seq=1", b"Content-Type: application/x-www-form-urlencoded"), "invalid"),
    "parts": (ack(b"seq=1", b"Content-Type: multipart/form-data"), "invalid"),
    "no type": (ack(b"{}"), "invalid"),
    "no type at all": (ack(b"{}", b"Content-Type: ;;=\xff"), "invalid"),
    "made-up letters": (ack(b"{}", JSON + b"; charset=nonsense"), "invalid"),
    "too long": (ack(b" " * (1 << 20) + b" ", JSON), "too-large"),
    "said to be too long": (request(ACK, HOST, b"Content-Length: 99999999999999"), "too-large"),
    # No HTTP.
    "no length": (request(ACK, HOST, b"Content-Length: x"), "bad-request"),
    "less than nothing": (request(ACK, HOST, b"Content-Length: -5"), "bad-request"),
    "two lengths": (request(ACK, HOST, b"Content-Length: 1", b"Content-Length: 2"), "bad-request"),
    "gzip": (request(ACK, HOST, b"Transfer-Encoding: gzip"), "bad-request"),
    "no chunk": (request(ACK, HOST, b"Transfer-Encoding: chunked", body=b"zz\r\n"), "bad-request"),
    "a space": (request(b"GET /v1/ nothing HTTP/1.1", HOST), "bad-request"),
    "a letter": (request("GET /v1/é HTTP/1.1".encode(), HOST), "bad-request"),
}


async def answer(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and read one answer as it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            writer.write(sent)
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = (
                b"" if sent.startswith(b"HEAD") else await reader.readexactly(int(headers["content-length"]))
            )
    finally:
        writer.close()
    return int(status.split(" ")[1]), headers, body


async def test_each_answer_to_an_odd_request_is_a_problem(central: Served) -> None:
    await append(central.store, [draft()])
    assert (await central.client.get("/v1")).status_code == 200
    for what, (sent, name) in ODD.items():
        status, headers, body = await answer(central.port, sent)
        assert headers["content-type"] == "application/problem+json", what
        told = json.loads(body)
        assert (told["type"], told["status"]) == (f"urn:carril:problem:{name}", status), what
        assert status == PROBLEMS[name][0], what
        assert told["title"], what
        assert told["detail"], what
        assert headers["cache-control"] == "no-store", what
        assert ("allow" in headers) == (name == "method-not-allowed"), what
        if name in ("bad-parameter", "invalid"):
            assert all(error["field"] and error["message"] for error in told["errors"]), what
    assert central.store.acked == {"central": 0}
    assert central.store.published == 1


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/nothing", 404), ("/v1/feed", 405), ("/v1/blobs/" + "0" * 64, 404)]
)
async def test_a_refusal_of_head_has_the_headers_of_a_problem_and_no_body(
    central: Served, path: str, status: int
) -> None:
    assert (await central.client.get("/v1")).status_code == 200
    sent = request(f"HEAD {path} HTTP/1.1".encode(), HOST)
    again = request(b"GET /v1/nothing HTTP/1.1", HOST)
    reader, writer = await asyncio.open_connection("127.0.0.1", central.port)
    async with asyncio.timeout(10):
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(again)  # on the same connection: nothing may stand between the two answers
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    writer.close()
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in head
