"""Serves the built screen with the station's own routes, headers and stream, and any snapshot as the lane.

For looks and for races that a real lane meets once a year. Everything that runs over several records
(restart, resume, one release) is tested against the real daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from station.api import web
from station.api.auth import LocalOnly
from station.api.events import events_router
from station.api.problems import Problem, handle_problems
from station.api.scans import scans_router
from station.domain.view import AlarmView, LaneView
from station.lane.image import reduced, reduced_flags
from station.runtime import bus
from tests.browser.day import a_day

EPOCH = "0198c0de-0000-7000-8000-000000000001"
DIST = Path(__file__).resolve().parents[2] / "station" / "web" / "dist"
LINES, ROWS, PX_MM = 3900, 1024, 4.2
STARVED = 1


class Journal:
    """Stands for the store behind the stream: nothing is ever missed."""

    epoch = EPOCH

    def __init__(self) -> None:
        self.published = 1

    async def records_after(self, after: int, limit: int) -> list[Any]:
        """Return nothing: a screen that missed a record here takes a new snapshot."""
        raise AssertionError(f"the stream asked for {limit} records after {after}")


class Pictures:
    """Stands for the lane's evidence: one drawn truck, and its strips."""

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        rows, columns = np.mgrid[0:ROWS, 0:LINES]
        image = np.full((LINES, ROWS), 60_000, np.uint16)
        cargo = (rows > 250) & (rows < 760) & (columns > 1000) & (columns < 3700)
        cab = (rows > 400) & (rows < 800) & (columns > 150) & (columns < 800)
        image[(cargo | cab).T] = 21_000
        image[((columns // 160 % 2 == 0) & cargo).T] = 9_000
        self._image = image
        self._flags = np.zeros_like(image, np.uint8)
        self._flags[2400:2480, 560:640] = STARVED

    async def image_facts(self, scan_id: str) -> dict[str, Any] | None:
        """Return the facts of the scan in the snapshot."""
        inspection = self._fixture.view.inspection
        scan = inspection.scan if inspection else None
        if scan is None or scan.scan_id != scan_id:
            return None
        return {
            "id": scan_id,
            "width": scan.lines + scan.lines_lost,
            "height": ROWS,
            "px_mm_x": PX_MM,
            "px_mm_y": PX_MM,
            "col_nose": scan.col_nose,
            "bits": 16,
            "scale": "D16",
            "level_count": 7,
            "flip": False,
            "simulated": True,
            "kinds": ["mean", "flags"],
            "cols_done": scan.lines + scan.lines_lost,
            "complete": scan.state != "scanning",
            "window_default": [0, 65535],
            "presets": {"light": [30_000, 65_535], "dense": [0, 20_000]},
        }

    async def columns(self, scan_id: str, first: int, last: int, level: int, kind: str) -> bytes:
        """Return columns, as the station makes them."""
        if kind == "flags":
            return reduced_flags(self._flags, first, last, level)
        return reduced(self._image, first, last, level)

    async def profile(self, inspection_id: str) -> dict[str, Any]:
        """Return strips along the vehicle."""

        def strip(count: int, dt_s: float, background: float) -> dict[str, Any]:
            t_ms = [round(i * dt_s * 1000) for i in range(count)]
            s_m = [i * dt_s * 1.5 for i in range(count)]
            counts = [round(background * dt_s * (1 + 0.3 * math.sin(i / 6))) for i in range(count)]
            known = {"background": background, "limit": background + 7 * math.sqrt(background)}
            return {"t_ms": t_ms, "s_m": s_m, "counts": counts, "dt_s": dt_s, **known}

        gamma, neutron = strip(52, 0.2, 1250.0), strip(11, 1.0, 3.0)
        return {"axis": "column", "gamma": gamma, "neutron": neutron, "hot_spots": []}


class Held:
    """Keeps back what the stream says while ``silent``: the connection stays, as when a computer hangs.

    A new stream says nothing for ``slow_s``, as when a computer is busy.
    """

    def __init__(self, app: ASGIApp, fixture: Fixture) -> None:
        self._app = app
        self._fixture = fixture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, waiting before each part of the stream."""
        stream = scope["path"].endswith("/events")
        began_s = time.monotonic()

        async def late(message: Message) -> None:
            while stream and (self._fixture.silent or time.monotonic() - began_s < self._fixture.slow_s):
                await asyncio.sleep(0.05)
            await send(message)

        await self._app(scope, receive, late)


@dataclass
class Fixture:
    """A lane that shows what it is told; thread-safe."""

    view: LaneView
    port: int = 0
    silent: bool = False
    slow_s: float = 0.0
    mute: bool = False
    """Whether decisions are taken and not answered."""
    web: str = "1"
    """Build of the screen, as the heartbeat tells it."""
    refusal: str | None = None
    """Problem type of the answer to each decision."""
    orders: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all decisions that were posted, with their ``key``."""
    days: list[tuple[str, str]] = field(default_factory=list)
    """Day and kind of all statistics that were asked for."""
    trimmed: bool = False
    """Whether the journal has no statistics any more."""
    acknowledged: list[str] = field(default_factory=list)
    """Alarms that were acknowledged, each as often as it was."""
    _bus: bus.Bus = field(default_factory=bus.Bus)
    _loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        """Address of the screen."""
        return f"http://127.0.0.1:{self.port}/"

    def show(self, view: LaneView) -> float:
        """Make this the lane; return the Unix time in seconds at which it was sent."""
        return self._publish(view, bus.Message("lane", {"lane": view.model_dump(mode="json")}))

    def tell_unstored(self, raised: AlarmView) -> None:
        """Tell of an alarm that is not stored; no snapshot has it."""
        alarm = raised.model_copy(update={"stored": False}).model_dump(mode="json")
        self._publish(self.view, bus.Message("alarm_raw", {"alarm": alarm}))

    def _publish(self, view: LaneView, message: bus.Message) -> float:
        sent = threading.Event()
        at: list[float] = []

        def publish() -> None:
            self.view = view
            at.append(time.time())
            self._bus.publish(message)
            sent.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(publish)
        assert sent.wait(10), "the fixture server hangs"
        return at[0]

    def app(self, stop: asyncio.Event) -> ASGIApp:
        """Return the application: the station's routes, and what stands for the lane."""
        app = FastAPI()
        app.state.services = SimpleNamespace(web_dist=DIST)
        handle_problems(app)
        app.add_middleware(LocalOnly)
        journal: Any = Journal()
        pictures: Any = Pictures(self)

        def beat() -> dict[str, Any]:
            centre = self.view.centre.model_dump(mode="json")
            return {"utc_us": time.time_ns() // 1000, "seq": 1, "ages": {}, "web": self.web, "centre": centre}

        app.include_router(events_router(self._bus, stop, journal, lambda: self.view, beat))

        app.include_router(scans_router(pictures))
        photo = cv2.imencode(".jpg", np.full((270, 480, 3), 128, np.uint8))[1].tobytes()

        @app.get("/v1/lane")
        def lane() -> LaneView:
            return self.view

        @app.get("/v1/stats")
        async def stats(day: str, kind: str) -> dict[str, Any]:
            self.days.append((day, kind))
            if self.trimmed:
                raise Problem(410, "trimmed", "As the test asked.")
            return a_day(day, kind)

        @app.get("/v1/blobs/{sha256}")
        def blob(sha256: str) -> Response:
            return Response(photo, media_type="image/jpeg")

        @app.post("/v1/lane/decisions", status_code=201)
        async def decide(request: Request) -> dict[str, Any]:
            key = request.headers["idempotency-key"]
            self.orders.append({**json.loads(await request.body()), "key": key})
            while self.mute:
                await asyncio.sleep(0.02)
            if self.refusal is not None:
                raise Problem(409, self.refusal, "As the test asked.")
            return {"record": {"epoch": EPOCH, "seq": 1}, "stored_at": "2026-11-24T04:00:00.120Z"}

        @app.put("/v1/lane/screens/{screen_id}", status_code=204)
        def screen(screen_id: str) -> None:
            return None

        @app.post("/v1/lane/alarms/{alarm_id}/{what}", status_code=201)
        def alarm(alarm_id: str, what: str) -> dict[str, Any]:
            if alarm_id not in {alarm.alarm_id for alarm in self.view.alarms}:
                raise Problem(404, "not-found", "There is no such alarm.")
            self.acknowledged += [alarm_id] if what == "ack" else []
            return {"record": {"epoch": EPOCH, "seq": 1}, "stored_at": "2026-11-24T04:00:00.120Z"}

        app.include_router(web.router)
        return Held(app, self)

    async def serve(self, listener: socket.socket, stop: asyncio.Event, ready: threading.Event) -> None:
        """Serve until ``stop``."""
        self._loop = asyncio.get_running_loop()
        config = uvicorn.Config(self.app(stop), lifespan="off", ws="none", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # not the main thread
        serving = asyncio.create_task(server.serve([listener]))
        ready.set()
        await stop.wait()
        server.should_exit = True
        await serving


@contextlib.contextmanager
def fixture_lane(view: LaneView) -> Iterator[Fixture]:
    """Serve one fixture in a thread."""
    fixture = Fixture(view)
    listener = socket.create_server(("127.0.0.1", 0))
    fixture.port = listener.getsockname()[1]
    ready = threading.Event()
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        stops.append((asyncio.get_running_loop(), stop))
        await fixture.serve(listener, stop, ready)

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="fixture lane")
    thread.start()
    try:
        assert ready.wait(10), "the fixture server does not start"
        yield fixture
    finally:
        fixture.silent = fixture.mute = False
        loop, stop = stops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        listener.close()
