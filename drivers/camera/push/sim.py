"""The emulated plate camera: photographs each vehicle as it passes and posts the event to the station.

``PushCamera`` is the camera without a network, for virtual time; ``PushCameraEmulator`` connects it to the
station's listener and, as cameras do, sends an event again until it has been accepted.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, ClassVar
from xml.sax.saxutils import escape

from drivers.api import Clock, Options, Stamp
from drivers.camera.push.driver import HttpPushOptions
from drivers.camera.push.paint import jpeg
from drivers.camera.push.picture import empty_lane, plate, scene
from drivers.plant.vehicle import Vehicle
from drivers.plant.world import Plant

LOOK_S = 0.05
CONFIDENCE = 97
REPLAY_S = 5.0
LATE_S = 120.0
SKEW_S = 3_600.0
ANSWER_S = 5.0
AGAIN_S = 1.0
OUTBOX = 8
"""Events that the camera keeps while the station does not take them; then the oldest is lost."""
BOUNDARY = "boundary"


@dataclass(frozen=True, slots=True)
class Shot:
    """One event that the camera has decided to send, before it is painted and packed."""

    vehicle: Vehicle
    """What is on the pictures and in the text: the one before while the camera is frozen."""
    taken: datetime
    """When the pictures were taken: it stands in them, so that no two are alike."""
    camera_time: datetime
    event_id: str
    retransmitted: bool = False
    half_image: bool = False


class PushCamera:
    """Decides when to send what; one event for each vehicle whose nose passes ``lpr_m``."""

    FAULTS: ClassVar[frozenset[str]] = frozenset(
        {"replay", "duplicate", "late", "half_image", "frozen", "clock_skew", "no_event"}
    )

    def __init__(self, plant: Plant, options: HttpPushOptions, seed: int) -> None:
        """Look at the plant."""
        self.plant = plant
        self.faults: set[str] = set()
        self.last: Shot | None = None
        self._options = options
        self._random = Random(seed)  # noqa: S311 - names of events, which must repeat with the seed
        self._passage = 0
        self._sent_s = 0.0

    def step(self, now: Stamp) -> list[bytes]:
        """Return the HTTP requests that the camera sends at ``now``."""
        return [self.request(shot) for shot in self.watch(now)]

    def watch(self, now: Stamp) -> list[Shot]:
        """Look once and return what is to be sent: cheap; ``request`` does the work."""
        now_s = self.plant.advance()
        vehicle = self.plant.vehicle
        passed = vehicle is not None and self.plant.nose_m >= self.plant.geometry.lpr_m
        if vehicle is not None and passed and self.plant.passage != self._passage:
            self._passage = self.plant.passage
            if "no_event" in self.faults:
                return []
            self._sent_s = now_s
            self.last = self._shoot(vehicle, now)
            return [self.last] * (2 if "duplicate" in self.faults else 1)
        if "replay" in self.faults and self.last is not None and now_s - self._sent_s >= REPLAY_S:
            self._sent_s = now_s
            return [self.last]
        return []

    def _shoot(self, vehicle: Vehicle, now: Stamp) -> Shot:
        late, skewed = "late" in self.faults, "clock_skew" in self.faults
        camera_time = datetime.fromtimestamp(now.utc_ns / 1e9 - late * LATE_S + skewed * SKEW_S, UTC)
        held = self.last if "frozen" in self.faults else None
        return Shot(
            vehicle=held.vehicle if held else vehicle,
            taken=held.taken if held else camera_time,
            camera_time=camera_time,
            event_id=str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            retransmitted=late,
            half_image="half_image" in self.faults,
        )

    def request(self, shot: Shot) -> bytes:
        """Paint and pack one event: up to 150 ms of work, safe in another thread."""
        picture = _dated(jpeg(scene(shot.vehicle)), shot.taken)
        if shot.half_image:
            picture = picture[: len(picture) // 2]
        parts = (
            ("anpr.xml", "application/xml", alert(shot).encode()),
            ("licensePlatePicture.jpg", "image/jpeg", _dated(jpeg(plate(shot.vehicle)), shot.taken)),
            ("detectionPicture.jpg", "image/jpeg", picture),
        )
        body = b"".join(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            f"Content-Type: {media_type}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
            + b"\r\n"
            for name, media_type, content in parts
        )
        body += f"--{BOUNDARY}--\r\n".encode()
        head = (
            f"POST /carril/anpr HTTP/1.1\r\nHost: {self._options.host}\r\n{self._authorization()}"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _authorization(self) -> str:
        user, password = self._options.username, self._options.password.get_secret_value()
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Authorization: Basic {credentials}\r\n" if user else ""


def _dated(picture: bytes, taken: datetime) -> bytes:
    """Return a JPEG with a comment segment that says when it was taken [ITU-T T.81 B.2.4.5]."""
    text = taken.isoformat(timespec="milliseconds").encode()
    return picture[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + picture[2:]


def alert(shot: Shot) -> str:
    """Return the XML of an event; a plate that the camera cannot read is ``unknown``."""
    readable = shot.vehicle.plate_readable
    text = escape(shot.vehicle.plate) if readable else "unknown"
    confidence = f"<confidenceLevel>{CONFIDENCE}</confidenceLevel>" if readable else ""
    again = "<isDataRetransmission>true</isDataRetransmission>" if shot.retransmitted else ""
    pictures = "".join(
        f"<pictureInfo><fileName>{kind}.jpg</fileName><type>{kind}</type></pictureInfo>"
        for kind in ("licensePlatePicture", "detectionPicture")
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<EventNotificationAlert version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
        f"<dateTime>{shot.camera_time.isoformat(timespec='milliseconds')}</dateTime>"
        "<activePostCount>1</activePostCount><eventType>ANPR</eventType><eventState>active</eventState>"
        f"<channelID>1</channelID><UUID>{shot.event_id}</UUID><picNum>2</picNum>{again}"
        f"<ANPR><country>{escape(shot.vehicle.region)}</country><licensePlate>{text}</licensePlate>{confidence}"
        f"<direction>forward</direction><pictureInfoList>{pictures}</pictureInfoList></ANPR>"
        "</EventNotificationAlert>\n"
    )


class PushCameraEmulator:
    """The camera on a loopback port of the station (``drivers.plant.emulator.Emulator``)."""

    FAULTS: ClassVar[frozenset[str]] = PushCamera.FAULTS
    DIALS: ClassVar[bool] = True

    def __init__(self, options: Options, plant: Plant, clock: Clock, seed: int) -> None:
        """Build it; ``seed`` gives the names of its events."""
        if not isinstance(options, HttpPushOptions):
            raise TypeError(f"the camera emulator needs HttpPushOptions, not {type(options).__name__}")
        self.camera = PushCamera(plant, options, seed)
        self._clock = clock
        self._outbox: deque[bytes] = deque(maxlen=OUTBOX)
        self._accepted = 0
        self._last_answer = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, dial_port: int | None = None) -> int:
        """Send to the station's listener on loopback ``dial_port`` and return that port."""
        if dial_port is None:
            raise ValueError("a camera that pushes needs the port of the station's listener: dial_port")
        await asyncio.to_thread(empty_lane)  # painted once, so that the first event is as quick as the others
        self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._send(dial_port))]
        return dial_port

    async def stop(self) -> None:
        """Stop sending; idempotent."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []

    def fault(self, name: str, *, on: bool) -> None:
        """Show or end a fault; ``ValueError`` for a name not in ``FAULTS``."""
        if name not in self.FAULTS:
            raise ValueError(f"the camera has no fault {name!r}; it has {', '.join(sorted(self.FAULTS))}")
        (self.camera.faults.add if on else self.camera.faults.discard)(name)

    def state(self) -> dict[str, Any]:
        """Return what was sent, what waits and what the station answered."""
        last = self.camera.last
        return {
            "accepted": self._accepted,
            "waiting": len(self._outbox),
            "last_answer": self._last_answer,
            "last_plate": last.vehicle.plate if last else "",
            "faults": sorted(self.camera.faults),
        }

    async def _look(self) -> None:
        while True:
            for shot in self.camera.watch(self._clock.stamp()):
                self._outbox.append(await asyncio.to_thread(self.camera.request, shot))
            await self._clock.sleep(LOOK_S)

    async def _send(self, port: int) -> None:
        while True:
            if not self._outbox:
                await self._clock.sleep(LOOK_S)
                continue
            request = self._outbox[0]
            self._last_answer = await _post(port, request)
            if self._last_answer.startswith("2"):
                self._accepted += 1
            elif not self._last_answer.startswith("4"):
                await self._clock.sleep(AGAIN_S)
                continue
            if self._outbox and self._outbox[0] is request:
                self._outbox.popleft()


async def _post(port: int, request: bytes) -> str:
    """Send one request on a connection of its own; return status and reason, or what went wrong."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await reader.readuntil(b"\r\n")
            return answer.decode("latin-1").partition(" ")[2].strip()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return f"no answer: {type(error).__name__}"
    finally:
        if writer is not None:
            writer.transport.abort()
