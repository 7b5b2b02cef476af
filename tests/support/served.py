"""The central interface over a real socket, with a lane that is only a set of values."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from station.api.app import create_app
from station.api.connections import Connection
from station.api.services import LaneHealth, Services
from station.runtime.clock import SystemClock
from station.runtime.device import DeviceStatus
from station.store.journal import Store


@dataclass
class LaneValues:
    """What the routes ask of the lane."""

    state: str = "ok"
    devices: dict[str, str] = field(default_factory=lambda: {"rpm1": "online"})
    silent_s: float = 0.0
    reports: dict[str, DeviceStatus] = field(default_factory=dict)
    sealed_count: dict[bool, int] = field(default_factory=lambda: {True: 3, False: 0})

    def health(self) -> LaneHealth:
        return LaneHealth(self.state, self.devices, "sync", self.silent_s)

    def sealed(self) -> Mapping[bool, int]:
        return self.sealed_count

    def device(self, name: str) -> DeviceStatus | None:
        return self.reports.get(name)


@dataclass
class Served:
    """A station's interface, and a client of it."""

    store: Store
    services: Services
    lane: LaneValues
    client: httpx2.AsyncClient
    port: int
    app: FastAPI

    def feed(self, after: int, **parameters: object) -> dict[str, object]:
        """Return the parameters of a feed request."""
        return {"after": after, "epoch": self.store.epoch} | parameters


class _Server(uvicorn.Server):
    """Ends at once when the station stops, instead of at uvicorn's next tick."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self._stop.wait()


@contextlib.asynccontextmanager
async def serve(store: Store, web_dist: Path | None = None) -> AsyncIterator[Served]:
    """Serve a store on a loopback port until the block ends."""
    lane = LaneValues()
    services = Services(store, store.station, SystemClock(), asyncio.Event(), lane, web_dist)
    app = create_app(services)
    config = uvicorn.Config(
        app,
        http=Connection,
        lifespan="off",
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    done = asyncio.Event()
    server = _Server(config, done)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve([listener]))
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=40) as client:
                yield Served(store, services, lane, client, port, app)
        finally:
            services.stop.set()
            done.set()
            await serving


def problem(reply: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert found["type"] == f"urn:carril:problem:{name}"
    assert found["status"] == status
    assert found["detail"]
    return found


async def ack(central: Served, seq: object, **changes: object) -> httpx2.Response:
    body = {"epoch": central.store.epoch, "seq": seq} | changes
    return await central.client.post("/v1/consumers/central/ack", json=body)
