"""The lane for screens: the snapshot, and the commands of officers.

A command is answered when its record is durable. Decisions name the inspection and the version that the
officer saw and carry an idempotency key: a repeat gets the first answer, a stale one 409.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from pydantic import BaseModel, Field

from station.api.problems import Problem, from_store, refusals
from station.domain.closures import Seen
from station.domain.decision import NotFound, Refused, ReleaseLocked
from station.domain.signed import Strict
from station.domain.values import Verdict
from station.domain.view import LaneView
from station.lane.commands import (
    AckAlarm,
    ClearTamper,
    Command,
    Decide,
    Observe,
    ReadImage,
    ReceiveOrder,
    SilenceAlarm,
)
from station.lane.drafts import reply_text
from station.lane.host import LaneHost
from station.store.draft import Receipt
from station.store.errors import Repeated, StoreError

Id = Annotated[str, Path(max_length=64)]
Key = Annotated[str, Header(alias="Idempotency-Key", min_length=8, max_length=64)]


class Body(Strict):
    """Base of request bodies."""


class DecisionBody(Body):
    """An order for what the officer saw."""

    inspection_id: str | None = Field(max_length=64)
    version: int = Field(ge=0)
    verdict: Annotated[Verdict, Field(strict=False)]
    reason: str | None = Field(default=None, max_length=500)


class ImageReadBody(Body):
    """How long and how much of the image was looked at."""

    inspection_id: str = Field(max_length=64)
    version: int = Field(ge=0)
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


class Place(BaseModel):
    """Where a record stands in the feed."""

    epoch: str
    seq: int


class Recorded(BaseModel):
    """The order is durable, and this is its record."""

    record: Place
    stored_at: str
    """UTC, RFC 3339: a repeat gets the first answer's."""


_DONE: dict[int | str, dict[str, Any]] = {
    201: {"model": Recorded, "description": "Durable and done"},
    **refusals("not-found", "version-conflict", "refused", "invalid", "store-unavailable"),
}
DECIDED = _DONE | refusals("version-conflict", "release-locked", "key-reused", "refused")


def lane_router(host: LaneHost, officer: str) -> APIRouter:
    """Return the routes of the snapshot and of what officers order."""
    router = APIRouter(prefix="/v1/lane", tags=["lane"])

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

    @router.post("/image-reads", status_code=201, responses=_DONE)
    async def image_read(body: ImageReadBody) -> Response:
        """Say that the radiograph was read: unlocks what waits for it."""
        command = ReadImage(body.inspection_id, body.version, officer, body.read_ms, body.seen_fraction)
        return await answer(host, command)

    @router.post("/alarms/{alarm_id}/ack", status_code=201, responses=_DONE)
    async def acknowledge(alarm_id: Id, body: NothingBody | None = None) -> Response:
        """Say that the alarm was seen."""
        return await answer(host, AckAlarm(alarm_id, officer))

    @router.post("/alarms/{alarm_id}/silence", status_code=201, responses=_DONE)
    async def silence(alarm_id: Id, body: NothingBody | None = None) -> Response:
        """Silence browser and horn for two minutes; the beacon goes on."""
        return await answer(host, SilenceAlarm(alarm_id, officer))

    @router.post("/directives/{directive_id}/ack", status_code=201, responses=_DONE)
    async def received(directive_id: Id, body: ReceivedBody) -> Response:
        """Say that what a directive orders for this vehicle was received; a repeat gets the first answer."""
        command = ReceiveOrder(body.inspection_id, directive_id, body.version, officer)
        said = f"{directive_id} {body.model_dump_json()}"
        digest = hashlib.sha256(said.encode()).hexdigest()
        return await answer(host, command, digest, digest)

    @router.post("/devices/{device}/tamper-clear", status_code=201, responses=_DONE)
    async def clear_tamper(device: Id, body: NothingBody | None = None) -> Response:
        """Say that somebody looked at a portal's tamper contact and found it closed; its alarm ends."""
        return await answer(host, ClearTamper(device, officer))

    @router.post("/observations", status_code=201, responses=_DONE)
    async def observe(body: ObservationBody) -> Response:
        """Say what seals and placards are at the vehicle; they are held against its papers (R10)."""
        seen = Seen(seals=body.seals, placards=body.placards)
        return await answer(host, Observe(body.inspection_id, seen, officer))

    return router


async def answer(host: LaneHost, command: Command, key: str = "", digest: str = "") -> Response:
    """Carry a command out and say where its record stands, or why not."""
    try:
        receipt = await host.command(command, client="screen" if key else "", key=key, request_sha256=digest)
    except Repeated as repeated:
        if repeated.stored.request_sha256.hex() != digest:
            raise Problem(409, "key-reused", "This idempotency key stands for another request.") from None
        return Response(repeated.stored.response, 201, media_type="application/json")
    except NotFound as refused:
        raise Problem(404, refused.code, str(refused)) from None
    except ReleaseLocked as refused:
        locks = [lock.model_dump(mode="json") for lock in refused.locks]
        raise Problem(409, refused.code, str(refused), locks=locks) from None
    except Refused as refused:
        version = host.lane.core.inspection.version if host.lane.core.inspection else None
        raise Problem(409, refused.code, str(refused), version=version) from None
    except StoreError as error:
        raise from_store(error) from None
    return _recorded(receipt)


def _recorded(receipt: Receipt) -> Response:
    return Response(reply_text(receipt), 201, media_type="application/json")
