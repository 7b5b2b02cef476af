"""What the application lends to every route, and what the routes need to know of the lane."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from fastapi import Depends, Request

from station.api.pace import Pace
from station.runtime.device import DeviceStatus
from station.store.journal import Store


class Instant(Protocol):
    """A moment."""

    @property
    def utc_ns(self) -> int:
        """UTC, nanoseconds."""
        ...


class Clock(Protocol):
    """The station's clock."""

    def stamp(self) -> Instant:
        """Return now."""
        ...

    def monotonic_s(self) -> float:
        """Return monotonic seconds."""
        ...


@dataclass(frozen=True, slots=True)
class LaneHealth:
    """How the lane is, in codes."""

    lane: str
    """``ok``, ``degraded`` or ``out_of_service``."""
    devices: Mapping[str, str]
    """State by device name."""
    clock: str
    """``sync``, ``unsync`` or ``unknown``."""
    silent_s: float
    """Seconds since the slowest critical task of the lane gave a sign of life."""
    reasons: tuple[str, ...] = ()
    """Why it is not ``ok``, in codes."""


class LanePort(Protocol):
    """What health and metrics need of the lane; every call is quick and waits for nothing."""

    def health(self) -> LaneHealth:
        """Return how the lane is now."""
        ...

    def sealed(self) -> Mapping[bool, int]:
        """Return how many inspections were sealed since the start, by whether they were simulated."""
        ...

    def device(self, name: str) -> DeviceStatus | None:
        """Return what is known of a device; ``None`` when the lane has none of that name."""
        ...


class Slots:
    """How many requests of one kind each client may hold open."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[str, int] = {}
        self._freed = asyncio.Event()

    async def turn(self, client: str, wait_s: float) -> bool:
        """Take a place as soon as there is one; ``False`` when there is none within ``wait_s``."""
        try:
            async with asyncio.timeout(wait_s):
                while not self.take(client):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            return False
        return True

    def take(self, client: str) -> bool:
        """Take a place; ``False`` when the client has all of its own already."""
        held = self._held.get(client, 0)
        if held >= self.limit:
            return False
        self._held[client] = held + 1
        return True

    def give(self, client: str) -> None:
        """Give a place back."""
        left = self._held[client] - 1
        if left:
            self._held[client] = left
        else:
            del self._held[client]
        self._freed.set()


@dataclass(slots=True)
class Contact:
    """When a central system last asked for the feed or acknowledged; monotonic seconds of the station."""

    asked_s: float | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """One station's parts, as its routes use them."""

    store: Store
    station: str
    clock: Clock
    stop: asyncio.Event
    lane: LanePort
    web_dist: Path | None
    """Folder of the built screen, if it has been built."""
    direction: str = ""
    """Of the lane: ``in`` or ``out``."""
    port_salt: bytes | None = None
    """What all lanes of the port share, so that they call a vehicle the same; without it none is named."""
    contact: Contact = field(default_factory=Contact)
    waits: Slots = field(default_factory=lambda: Slots(4))
    downloads: Slots = field(default_factory=lambda: Slots(2))
    pace: Pace = field(default_factory=Pace)
    screen_pace: Pace = field(default_factory=Pace)
    """Of screens: a centre that fetches pictures all day must not keep an officer waiting."""


def services_of(request: Request) -> Services:
    """Return the application's services."""
    services: Services = request.app.state.services
    return services


Lent = Annotated[Services, Depends(services_of)]


def client_of(request: Request) -> str:
    """Return who asks: the address, until clients have certificates; a screen is not its neighbour program.

    Browsers say so by themselves [Fetch Metadata]. Nobody gains by lying: it is about taking turns.
    """
    return f"{request.client.host if request.client else 'local'}{' screen' if is_screen(request) else ''}"


def is_screen(request: Request) -> bool:
    """Whether a page of this station asks."""
    return request.headers.get("sec-fetch-site") == "same-origin"
