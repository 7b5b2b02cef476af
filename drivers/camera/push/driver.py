"""A reading camera that pushes its events over HTTP to a listener of its own.

The camera is answered 200 when its event stands in the queue of readings: received, not yet durable. The lane
takes it from there at once and records it when its pictures are on the disk; a crash in between loses it. A
queue that nobody empties is soon full, which is answered 503, and the camera sends again. What is no event is
answered with a sentence and counted; the listener lives on. One connection carries one request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from typing import Annotated, Literal, cast

from pydantic import Field, IPvAnyNetwork, SecretStr, model_validator

from drivers.api import BadFrame, ConnectFailed, DeviceIdentity, DriverContext, DriverSpec, Options, Role
from drivers.camera.push.codec import REFUSALS, Event, OtherEvent, Receiver, Request, decode_event, response
from drivers.readings import CameraRead, Stamp

REQUEST_S = 10.0
"""Longest time from connecting to the last byte of the request."""
LATE_S = 60.0
"""Age by the camera's own clock from which an event is late."""
MAX_CONNECTIONS = 8
MAX_WAITING = 16
"""Events that wait for the lane."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Their bodies and pictures together; one event has half of it at most."""
REMEMBERED = 1_024
"""Events by whose UUID a repetition is known."""
READ_BYTES = 65_536
RETRY = "Retry-After: 1"


class HttpPushOptions(Options):
    """Where the station listens, and whom it hears.

    Credentials are asked for only if they are set here. ``allow`` names addresses or networks of cameras;
    empty: all.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8_088, ge=0, le=65_535)
    """0: any free port, see ``HttpPush.port``."""
    profile: Literal["hikvision"] = "hikvision"
    username: str = ""
    password: SecretStr = SecretStr("")
    allow: Annotated[tuple[IPvAnyNetwork, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _check_credentials(self) -> HttpPushOptions:
        if bool(self.username) != bool(self.password.get_secret_value()):
            raise ValueError("username and password belong together: give both or neither.")
        if ":" in self.username:
            raise ValueError("username must not contain a colon: HTTP basic authentication cannot carry it.")
        return self


class HttpPush:
    """One listener for one camera (``drivers.api.Driver``)."""

    def __init__(self, options: HttpPushOptions, context: DriverContext) -> None:
        """Build it; ``open`` listens."""
        self._options = options
        self._context = context
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._waiting: deque[CameraRead | BadFrame] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self._seen: OrderedDict[str, None] = OrderedDict()

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while closed."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else 0

    async def open(self) -> DeviceIdentity:
        """Listen; the identity is empty, since a camera that pushes cannot be asked.

        Raises ``ConnectFailed`` when the address cannot be listened on.
        """
        host, port = self._options.host, self._options.port
        try:
            self._server = await asyncio.start_server(self._serve, host, port)
        except OSError as error:
            raise ConnectFailed(
                f"the camera listener cannot use {host}:{port} ({error.strerror}); "
                "end the program that uses it, or give another host or port and tell the camera."
            ) from error
        return DeviceIdentity()

    async def readings(self) -> AsyncIterator[CameraRead | BadFrame]:
        """Yield each event once; two with one ``event_id`` where the camera sends the full record later.

        Ends when the listener is closed. A damaged picture is left out of its event and follows as a
        ``BadFrame``; the event's ``body`` still holds it.
        """
        while not self._closed:
            while self._waiting:
                yield self._waiting.popleft()
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        """Stop listening and end every connection; idempotent."""
        self._closed = True
        self._news.set()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        if server is not None:
            await server.wait_closed()

    # --- one connection -------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was accepted in the moment of the end
            writer.close()
            return
        task = cast("asyncio.Task[None]", asyncio.current_task())
        if len(self._connections) >= MAX_CONNECTIONS:
            busy = response(503, "Too many connections are open; send this event again.", RETRY)
            self._context.tap("tx", busy)
            writer.write(busy)
            writer.close()
            return
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            answer = await self._converse(reader, writer)
            self._context.tap("tx", answer)
            writer.write(answer)
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()  # the sender is gone, does not read, or the listener is closing
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Receive one request and return its answer: nothing to one who says nothing."""
        peer = str(writer.get_extra_info("peername")[0])
        if not self._may_send(peer):
            return response(403, f"The address {peer} is not on the list of cameras.")
        receiver = Receiver()
        try:
            async with asyncio.timeout(REQUEST_S):
                received = await self._receive(receiver, reader, writer)
        except TimeoutError:
            received = receiver.bad("too_slow")
        if isinstance(received, Request):
            return self._answer(received, self._context.clock.stamp())
        return self._refuse(received) if received.head else b""

    async def _receive(
        self, receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | BadFrame:
        while True:
            data = await reader.read(READ_BYTES)
            self._context.tap("rx", data)
            received = receiver.feed(data)
            if received is not None:
                return received
            if interim := receiver.interim():
                self._context.tap("tx", interim)
                writer.write(interim)

    def _may_send(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer)
        return not self._options.allow or any(address in network for network in self._options.allow)

    # --- one request ----------------------------------------------------------------------------

    def _answer(self, request: Request, stamp: Stamp) -> bytes:
        if request.method != "POST":
            return response(405, "Camera events come by POST.", "Allow: POST")
        if not self._is_authorized(request.headers.get("authorization", "")):
            challenge = 'WWW-Authenticate: Basic realm="camera events", charset="UTF-8"'
            return response(401, "Give the user name and password of the lane file.", challenge)
        event = decode_event(request.headers.get("content-type", ""), request.body)
        if isinstance(event, BadFrame):
            return self._refuse(event)
        if isinstance(event, OtherEvent):
            self._context.log.debug("%s: event %r is about no plate", self._context.name, event.event_type)
            return response(200, "This event is about no plate; nothing was recorded.")
        if event.event_id in self._seen:
            return response(200, "This event is known already.")
        reading = _reading(event, stamp, request.body)
        waiting_bytes = sum(map(_bytes_of, self._waiting))
        if len(self._waiting) >= MAX_WAITING or waiting_bytes + _bytes_of(reading) > MAX_WAITING_BYTES:
            return response(503, "Too many events are waiting; send this one again.", RETRY)
        if not event.more_follows:
            self._remember(event.event_id)
        self._queue(reading)
        for _ in range(event.left_out):
            self._queue(BadFrame("broken_image", 0, request.body[:64]))
        return response(200, "Received.")

    def _refuse(self, frame: BadFrame) -> bytes:
        if len(self._waiting) < MAX_WAITING:  # otherwise enough bad frames tell the same
            self._queue(frame)
        return response(*REFUSALS[frame.kind])

    def _queue(self, item: CameraRead | BadFrame) -> None:
        self._waiting.append(item)
        self._news.set()

    def _remember(self, event_id: str) -> None:
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _is_authorized(self, header: str) -> bool:
        if not self._options.username:
            return True
        scheme, _, given = header.partition(" ")
        wanted = f"{self._options.username}:{self._options.password.get_secret_value()}".encode()
        try:
            credentials = base64.b64decode(given, validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(credentials, wanted)


def _reading(event: Event, stamp: Stamp, body: bytes) -> CameraRead:
    age_s = 0.0 if event.camera_utc_s is None else stamp.utc_ns / 1e9 - event.camera_utc_s
    return CameraRead(
        stamp=stamp,
        kind="plate",
        text=event.text,
        region=event.region,
        confidence=event.confidence,
        event_id=event.event_id,
        camera_time=event.camera_time,
        late=event.retransmitted or age_s > LATE_S,
        pictures=event.pictures,
        body=body,
    )


def _bytes_of(item: CameraRead | BadFrame) -> int:
    if isinstance(item, BadFrame):
        return 0
    return len(item.body) + sum(len(picture.jpeg) for picture in item.pictures)


SPEC = DriverSpec(
    name="http_push",
    role=Role.CAMERA,
    options=HttpPushOptions,
    make=HttpPush,
    simulator="drivers.camera.push.sim:PushCameraEmulator",
)
