"""Fuzz the parser of the camera's listener with atheris.

``python tests/faults/fuzz_push.py [SECONDS]`` ends with status 0 when nothing was found. The first byte
chooses a raw connection, cut into segments, or the body of one event; the second one the size or the type.
"""

from __future__ import annotations

import atheris

from tests.support.fuzzing import fuzz, pieces

with atheris.instrument_imports(include=["drivers.camera.push", "python_multipart", "h11"]):
    from drivers.camera.push.codec import REFUSALS, Event, Receiver, Request, decode_event
    from drivers.readings import BadFrame

TYPES = ("multipart/form-data; boundary=x", "application/xml", "")
SEEDS = (
    b"\x00\x09POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"\x00\x01POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b'\x01\x00--x\r\nContent-Disposition: form-data; name="a"; filename="b.jpg"\r\n\r\n\xff\xd8\xff\xc0'
    b"\x00\x11\x08\x00\x08\x00\x10\x03\xff\xd9\r\n--x\r\n\r\n<A><ANPR><licensePlate>B</licensePlate></ANPR></A>\r\n--x--",
    b'\x01\x01<A xmlns="u"><eventType>ANPR</eventType><dateTime>2026-01-01T00:00:00Z</dateTime><UUID>1</UUID>'
    b"<ANPR><country>US</country><licensePlate>B</licensePlate><confidenceLevel>9</confidenceLevel></ANPR></A>",
)


def connection(data: bytes, step: int) -> Request | BadFrame | None:
    """Feed a connection in segments of ``step`` bytes and end it."""
    receiver = Receiver()
    for piece in pieces(data, step):
        if (found := receiver.feed(piece)) is not None:
            return found
        receiver.interim()
    return receiver.feed(b"")


def one_input(data: bytes) -> None:
    """Everything becomes a value, and segments make no difference."""
    if len(data) < 2:
        return
    choice, step, rest = data[0], data[1], data[2:]
    if choice % 2 == 0:
        if connection(rest, step or 256) != connection(rest, len(rest) or 1):
            raise AssertionError("segments make a difference")
        return
    decoded = decode_event(TYPES[step % len(TYPES)], rest)
    if isinstance(decoded, BadFrame) and decoded.kind not in REFUSALS:
        raise AssertionError(f"nothing can be said about {decoded}")
    if isinstance(decoded, Event) and len(decoded.text) > 64:
        raise AssertionError("a text without a bound")


if __name__ == "__main__":
    fuzz(one_input, SEEDS, longest=4096)
