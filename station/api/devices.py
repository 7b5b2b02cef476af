"""One device for the technician: what it counted, what it said that was no record, what it said last."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter
from pydantic import BaseModel

from station.api.problems import Problem, refusals
from station.api.services import Lent
from station.runtime.device import DeviceStatus

router = APIRouter(tags=["health"])


class BadFrameKept(BaseModel):
    """Bytes that were no record: at most their first 64; ``offset`` counts from the link's opening."""

    utc_us: int
    kind: str
    offset: int
    head_hex: str


class Device(BaseModel):
    """A device since the station's start; ``tail_hex`` are the last 4 KiB that came from it."""

    name: str
    state: str
    cause: str
    detail: str
    identity: dict[str, str]
    age_s: float | None
    readings: int
    opened: int
    crashes: int
    abandoned: int
    bad_frames: dict[str, int]
    last_bad_frames: list[BadFrameKept]
    tail_hex: str


@router.get("/v1/devices/{name}", responses=refusals("not-found"))
async def device(name: str, services: Lent) -> Device:
    """Return everything that is known of one device."""
    status = services.lane.device(name)
    if status is None:
        known = ", ".join(services.lane.health().devices)
        raise Problem(404, "not-found", f"There is no device {name[:64]!r}; the lane has {known}.")
    return as_sent(name, status)


def as_sent(name: str, status: DeviceStatus) -> Device:
    """Return what is known as it is sent: bytes in hex."""
    return Device(
        name=name,
        state=status.state,
        cause=status.cause or "",
        detail=status.detail,
        identity=dataclasses.asdict(status.identity) if status.identity else {},
        age_s=None if status.age_s is None else round(status.age_s, 3),
        readings=status.readings,
        opened=status.opened,
        crashes=status.crashes,
        abandoned=status.abandoned,
        bad_frames=dict(status.bad_frames),
        last_bad_frames=[
            BadFrameKept(
                utc_us=stamp.utc_ns // 1000, kind=bad.kind, offset=bad.offset, head_hex=bad.head.hex(" ")
            )
            for stamp, bad in status.last_bad_frames
        ],
        tail_hex=status.tail.hex(" "),
    )
