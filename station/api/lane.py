"""The lane for screens: the snapshot, and the commands of officers.

A command is answered when its record is durable. Decisions name the inspection and the version that the
officer saw and carry an idempotency key: a repeat gets the first answer, a stale one 409.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field

from station.api.adjudications import adjudications_router
from station.api.orders import DECIDED, DONE, Key, answer
from station.domain.closures import Seen
from station.domain.signed import Strict
from station.domain.values import Verdict
from station.domain.view import LaneView
from station.lane.commands import (
    AckAlarm,
    ClearTamper,
    Decide,
    Observe,
    ReadImage,
    ReceiveOrder,
    SilenceAlarm,
)
from station.lane.host import LaneHost

Id = Annotated[str, Path(max_length=64)]


class Body(Strict):
    """Base of request bodies."""


class DecisionBody(Body):
    """An order for what the officer saw."""

    inspection_id: str | None = Field(max_length=64)
    version: int = Field(ge=0, le=2**31)
    verdict: Annotated[Verdict, Field(strict=False)]
    reason: str | None = Field(default=None, max_length=500)


class ImageReadBody(Body):
    """How long and how much of the image was looked at."""

    inspection_id: str = Field(max_length=64)
    version: int = Field(ge=0, le=2**31)
    read_ms: int = Field(ge=0, le=86_400_000)
    seen_fraction: float = Field(ge=0, le=1)


class ReceivedBody(Body):
    """The vehicle and the version of the directive that the officer saw."""

    inspection_id: str = Field(max_length=64)
    version: int = Field(ge=1, le=2**31)


class ObservationBody(Seen):
    """What the officer saw at the vehicle: seals, placards, or both."""

    inspection_id: str = Field(max_length=64)


class NothingBody(Body):
    """An order that says all by its path."""


def lane_router(host: LaneHost, officer: str) -> APIRouter:
    """Return the routes of the snapshot and of what officers order."""
    router = APIRouter(prefix="/v1/lane", tags=["lane"])
    router.include_router(adjudications_router(host, officer))

    @router.get("")
    def lane() -> LaneView:
        """Return the snapshot that is true and durable now."""
        return host.view

    @router.post("/decisions", status_code=201, responses=DECIDED)
    async def decide(body: DecisionBody, key: Key) -> Response:
        """Give an order: release, secondary or hold."""
        command = Decide(body.inspection_id, body.version, body.verdict, officer, body.reason)
        digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
        return await answer(host, command, key, digest)

    @router.post("/image-reads", status_code=201, responses=DONE)
    async def image_read(body: ImageReadBody) -> Response:
        """Say that the radiograph was read: unlocks what waits for it."""
        command = ReadImage(body.inspection_id, body.version, officer, body.read_ms, body.seen_fraction)
        return await answer(host, command)

    @router.post("/alarms/{alarm_id}/ack", status_code=201, responses=DONE)
    async def acknowledge(alarm_id: Id, body: NothingBody | None = None) -> Response:
        """Say that the alarm was seen."""
        return await answer(host, AckAlarm(alarm_id, officer))

    @router.post("/alarms/{alarm_id}/silence", status_code=201, responses=DONE)
    async def silence(alarm_id: Id, body: NothingBody | None = None) -> Response:
        """Silence browser and horn for two minutes; the beacon goes on."""
        return await answer(host, SilenceAlarm(alarm_id, officer))

    @router.post("/directives/{directive_id}/ack", status_code=201, responses=DONE)
    async def received(directive_id: Id, body: ReceivedBody) -> Response:
        """Say that what a directive orders for this vehicle was received; a repeat gets the first answer."""
        command = ReceiveOrder(body.inspection_id, directive_id, body.version, officer)
        said = f"{directive_id} {body.model_dump_json()}"
        digest = hashlib.sha256(said.encode()).hexdigest()
        return await answer(host, command, digest, digest)

    @router.post("/devices/{device}/tamper-clear", status_code=201, responses=DONE)
    async def clear_tamper(device: Id, body: NothingBody | None = None) -> Response:
        """Say that somebody looked at a portal's tamper contact and found it closed; its alarm ends."""
        return await answer(host, ClearTamper(device, officer))

    @router.post("/observations", status_code=201, responses=DONE)
    async def observe(body: ObservationBody) -> Response:
        """Say what seals and placards are at the vehicle; they are held against its papers (R10)."""
        seen = Seen(seals=body.seals, placards=body.placards)
        return await answer(host, Observe(body.inspection_id, seen, officer))

    return router
