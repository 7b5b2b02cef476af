"""What one connection may cost: uvicorn alone waits for ever for a header, and for a reader that stopped.

Times are monotonic seconds of the event loop. Delete what uvicorn has learnt to do itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from station.api.problems import Problem

HEADER_S = 10.0
"""From the first byte of a request, or from the connection, to the end of its header."""
STALLED_S = 60.0
"""How long a client may leave full buffers unread: a screen that sleeps comes back and asks again."""
MOST_CONNECTIONS = 256
"""Of all clients: a leak of theirs must not take the descriptors with which the lane reaches its devices."""


class Connection(H11Protocol):
    """One HTTP/1.1 connection with deadlines; handed to uvicorn as ``http=``."""

    _header: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take a connection, or drop it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._header = self._after(HEADER_S, transport.close)

    def data_received(self, data: bytes) -> None:
        """Take bytes: the deadline runs while a header is not complete."""
        if self._header is None and self.conn.their_state is h11.IDLE:
            self._header = self._after(HEADER_S, self.transport.close)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_header()

    def pause_writing(self) -> None:
        """Begin to wait for a reader whose buffers are full."""
        super().pause_writing()
        self._end_stalled()
        self._stalled = self._after(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        super().resume_writing()
        self._end_stalled()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        self._end_header()
        self._end_stalled()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other refusal is answered, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # nonsense behind a request that is being answered
            return
        refusal = Problem(400, "bad-request", f"{msg} What came is no HTTP/1.1 request.").response()
        headers = [*refusal.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=HTTPStatus.BAD_REQUEST.phrase.encode()),
            h11.Data(data=bytes(refusal.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _after(self, seconds: float, end: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, end)

    def _end_header(self) -> None:
        if self._header is not None:
            self._header.cancel()
            self._header = None

    def _end_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
